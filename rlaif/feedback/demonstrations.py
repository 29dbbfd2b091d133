"""A round's `demonstrations.jsonl`: the answers that people wrote instead of those they were shown.

Invariant: the file is made anew from the queue and the labels, and `rlaif train --objective sft` reads it.
"""

import json
from collections.abc import Sequence
from typing import Any

from rlaif.data.question import chat_tree
from rlaif.feedback.labels import PersonLabel, current_labels
from rlaif.feedback.queue import QueueItem
from rlaif.io.files import read_bytes, write_bytes
from rlaif.store.rundir import RoundDir


def write_demonstrations(directory: RoundDir, items: Sequence[QueueItem], labels: Sequence[PersonLabel]) -> str | None:
    """Write the demonstrations of a round's labels and return the path; None where there was never any."""
    current = current_labels(labels)
    rows = [
        _row(item, label)
        for item in items
        for _, label in sorted(current.get(item.id, {}).items())
        if label.demonstration
    ]
    path = directory.path("demonstrations.jsonl")
    # What was undone since must not stay in the file.
    if not rows and not read_bytes(path):
        return None
    write_bytes(path, b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))
    return path


def _row(item: QueueItem, label: PersonLabel) -> dict[str, Any]:
    # A chat is asked turn by turn; with a context, which only the policy's template shows, its transcript is.
    chat = item.messages and not item.context
    asked = {"messages": chat_tree(item.messages)} if chat else {"question": item.question, "context": item.context}
    provenance = {"item": item.id, "prompt_id": item.prompt_id, "who": label.who, "when": label.when}
    return {"id": f"{item.id}-{label.who}", **asked, "gold_answer": label.demonstration, **provenance}
