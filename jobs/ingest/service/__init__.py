"""What may happen to a batch: accepted at the door, begun by one attempt at a time, finished or failed.

`batches` records and loads no Spark; `running` does a whole ingest in this process.
"""
