"""Entities: one profile, looked up by any of its identities, without Spark."""
