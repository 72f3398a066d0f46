"""Alembic migrations of the catalog, run by `jobs.catalog.migrating` when a catalog is opened.

A new one is a file in `versions/` named after its number; numbers only grow, and `migrating.HEAD` names the last.
"""
