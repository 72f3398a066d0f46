"""Holds the script that spark-submit starts, alone: Spark puts a script's folder first on sys.path."""
