"""Merge policies: which fragments make a profile, and whose value wins."""
