"""Spark: which engine runs a job, the embedded server, and one session per attempt."""
