"""Verification: what the views say, compared with what fragments and links make anew."""
