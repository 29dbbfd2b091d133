"""A round's `labels.jsonl`: what people said of the comparisons in its queue, one label a line, by any tool.

Invariant: lines are only added, each synced before the person goes on. A line that is wrong is named and counts for
nothing; of a person's lines on a comparison the last one counts.
"""

import fcntl
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, ValidationError

from rlaif.errors import Fault
from rlaif.io.files import full_disk_named, is_url, read_bytes, write_bytes
from rlaif.io.yaml_file import pydantic_fault
from rlaif.store.records.record import RecordPart
from rlaif.store.rundir import RoundDir

Answer = Literal["first", "second", "tie", "both_bad", "skip"]


def _named(who: str) -> str:
    if not who.strip():
        raise ValueError("empty; expected the person's name")
    return who.strip()


class PersonLabel(RecordPart):
    """One line: what one person said of one comparison."""

    model_config = ConfigDict(extra="ignore")

    item: str
    """Id of the comparison in `queue.jsonl`."""
    label: Answer | None
    """`first` or `second` is better, as the queue names them; `tie`; `both_bad`; or `skip`, which decides nothing. null
    is no answer yet, beside a demonstration."""
    who: Annotated[str, AfterValidator(_named)]
    """The person's name; of one person's lines on a comparison the last one counts."""
    demonstration: str | None = None
    """The answer that the person would have given, or null."""
    when: str | None = None
    """ISO 8601, or null."""
    undone: bool = False
    """true withdraws what the person said of the comparison."""


@dataclass(frozen=True, slots=True)
class LabelLines:
    """The valid lines of a label file, in order, and a fault for each other line."""

    labels: list[PersonLabel]
    faults: list[Fault]


def labels_path(directory: RoundDir) -> str:
    """Return the path of a round's label file."""
    return directory.path("labels.jsonl")


def read_label_lines(directory: RoundDir, items: Collection[str]) -> LabelLines:
    """Read a round's label file; `items` are the ids of its queue. A last line that is still being written is left."""
    path = labels_path(directory)
    found = LabelLines([], [])
    lines = (read_bytes(path) or b"").split(b"\n")
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            label = PersonLabel.model_validate_json(text)
        except ValidationError as error:
            fault = error.errors()[0]
            if fault["type"] == "json_invalid":
                if number < len(lines):
                    found.faults.append(Fault(path, "not JSON", number, expected="one JSON object per line"))
                continue
            field = ".".join(map(str, fault["loc"]))
            found.faults.append(replace(pydantic_fault(fault), path=path, line=number, field=field))
            continue
        if label.item in items:
            found.labels.append(label)
        else:
            expected = "the id of an item of queue.jsonl"
            found.faults.append(Fault(path, "", number, field="item", expected=expected, found=repr(label.item)))
    return found


def current_labels(labels: Iterable[PersonLabel]) -> dict[str, dict[str, PersonLabel]]:
    """Return the labels that count, by item and person; those that were undone do not."""
    found: dict[str, dict[str, PersonLabel]] = {}
    for label in labels:
        by_person = found.setdefault(label.item, {})
        by_person.pop(label.who, None)
        if not label.undone:
            by_person[label.who] = label
    return {item: by_person for item, by_person in found.items() if by_person}


def answered_items(current: Mapping[str, Mapping[str, PersonLabel]]) -> set[str]:
    """Return the items that somebody has answered, be it by `skip`."""
    return {item for item, by_person in current.items() if any(each.label is not None for each in by_person.values())}


def append_label(directory: RoundDir, label: PersonLabel) -> None:
    """Add a line, which is on the disk when this returns. An object store has the whole file put again."""
    path, line = labels_path(directory), label.model_dump_json().encode() + b"\n"
    if is_url(path):
        before = read_bytes(path) or b""
        write_bytes(path, before + (b"" if before.endswith(b"\n") or not before else b"\n") + line)
        return
    with full_disk_named(path), open(path, "a+b") as file:
        # Other people's tools may be writing too.
        fcntl.flock(file, fcntl.LOCK_EX)
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            # A line that a kill cut off must not swallow this one.
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
