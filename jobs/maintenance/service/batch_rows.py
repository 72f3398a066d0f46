"""What the tables of a dataset hold batch by batch, read from their logs without Spark."""

from collections.abc import Iterator
from dataclasses import dataclass

from jobs.catalog.records import DatasetRecord
from jobs.lake.keyed_table import LEVEL, PART, RUN
from jobs.lake.listing import Partition, partitions
from jobs.lake.schema import BATCH
from jobs.lake.store import Store

BY_BATCH = ("lake", "links", "quarantine")
BY_LEVEL = ("fragments", "events")


@dataclass(frozen=True)
class BatchRows:
    """The rows of one batch in one table, as it wrote them.

    Args:
        room: lake, links, quarantine, fragments or events.
        name: place of the table in its sandbox, e.g. fragments/crm/g0.
        path: of the table.
        batch_id: whose rows.
        partition: its files.
    """

    room: str
    name: str
    path: str
    batch_id: str
    partition: Partition

    @property
    def has_levels(self) -> bool:
        """Whether the table has runs of batches in place of a partition by batch."""
        return self.room in BY_LEVEL


def rows_of_batches(store: Store, dataset: DatasetRecord) -> Iterator[BatchRows]:
    """List what each batch has in the tables of a dataset; of those with levels in the present generation, its run.

    Raises:
        StoreError: a table cannot be read.
    """
    for room in BY_BATCH:
        path = store.path(room, dataset.id)
        for partition in partitions(path):
            yield BatchRows(room, f"{room}/{dataset.id}", path, partition.values[BATCH], partition)
    for room in BY_LEVEL:
        path = store.generation_path(room, dataset.id, dataset.generation)
        for partition in partitions(path):
            if partition.values[LEVEL] == RUN:
                name = f"{room}/{dataset.id}/g{dataset.generation}"
                yield BatchRows(room, name, path, partition.values[PART], partition)
