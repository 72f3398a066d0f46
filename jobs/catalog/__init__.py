"""Records of the platform: what is defined, what ran, what happened to it. An SQL database; never read by a Spark job."""
