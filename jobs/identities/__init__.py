"""The identity graph: which identities are one person's, and that person's profile id."""
