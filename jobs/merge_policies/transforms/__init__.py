"""Fragments to merged attributes, and to where each value came from."""
