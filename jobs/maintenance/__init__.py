"""Keeping a store fit: close what was left open, fold, compact, purge, vacuum, drop old files."""
