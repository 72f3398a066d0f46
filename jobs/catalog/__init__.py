"""Records of the platform: what is defined, what ran, what became of it. An SQL database; no Spark job opens it."""
