"""Files that arrive by themselves."""
