"""`spending.json`: what a run has spent on its judge's endpoints."""

from typing import Literal

from rlaif.store.records.record import Record


class SpendingRecord(Record):
    """Money spent over all starts of a run."""

    layout: Literal[2] = 2
    spent: float
    currency: str
