"""The DAGs: their rules, and their runs on a platform; fixtures of this package leave it as they found it."""
