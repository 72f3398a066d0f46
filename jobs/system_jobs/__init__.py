"""Data that leaves the Profile store: planned, approved of, deleted at one moment, and gone from every view."""
