"""`merge.json`: what the plain weights beside it were made of."""

from typing import Literal

from rlaif.store.records.record import Record
from rlaif.store.records.round_records import BaseModelRecord


class MergeRecord(Record):
    """An adapter merged into its base: the sum in float32, rounded to the base's own type."""

    layout: Literal[1] = 1
    adapter: str
    """Folder, URL or hub id of the adapter."""
    adapter_id: str
    """sha256 of the adapter's weights: the id of the policy."""
    base: BaseModelRecord
    id: str
    """sha256 of the merged weights."""
    files: dict[str, str]
    """sha256 of each file in the folder."""
