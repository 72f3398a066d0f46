"""Tessera: a batch customer-profile platform on Spark and Delta Lake."""
