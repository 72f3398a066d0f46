"""Profiles as plain Delta tables that any analyst opens."""
