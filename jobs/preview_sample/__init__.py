"""Preview sample status: what the Profile store is made of, counted exactly and kept as history."""
