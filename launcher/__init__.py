"""Set-up and processes. Runs before anything is installed, so it uses the standard library alone."""
