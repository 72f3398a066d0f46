"""Upsert batch ingestion: files become lake rows, quarantine rows and profile fragments."""
