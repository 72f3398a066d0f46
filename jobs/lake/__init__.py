"""The Delta tables of a store: their schemas, how a batch is written, how a key is found."""
