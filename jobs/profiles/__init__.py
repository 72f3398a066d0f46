"""Profiles: the merged view of each policy, brought up to date for the price of what changed."""
