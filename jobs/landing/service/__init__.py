"""What may happen to a file that was dropped into a landing folder: taken as a batch once, and put aside when it ended.

What was ingested already is told by content, SHA-256 of the bytes within the dataset, and not by name. So a batch's id
is derived from its dataset and its files' contents: whoever looks again, after a crash too, finds the same record.
"""

from jobs.landing.service.scanning import ran_in, scan
from jobs.landing.service.settling import settle

__all__ = ["ran_in", "scan", "settle"]
