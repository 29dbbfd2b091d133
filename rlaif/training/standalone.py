"""What the commands share that train from a file, without a run.

Invariant: the output folder appears whole, with its `training.json`, or not at all. Until then everything lies in
`OUT.work`.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from rlaif.background import in_background
from rlaif.errors import UserError
from rlaif.recipe import TrainersSection
from rlaif.store.records.file_training_record import FileTrainingRecord
from rlaif.training.job import OnStep, TrainingJob, Worker
from rlaif.training.workers import TrainingWorkers

J = TypeVar("J", bound=TrainingJob[Any])
E = TypeVar("E")
R = TypeVar("R")


def work_folder(out: str, subject: str) -> Path:
    """Return the folder of unfinished work for an output folder.

    Raises:
        UserError: the output folder exists; the message names its subject.
    """
    if Path(out).exists():
        raise UserError(f"{out}: already exists; name a new folder for {subject}")
    return Path(f"{out.rstrip('/')}.work").resolve()


async def train_from_file(
    prepare: Callable[[], tuple[J, E]],
    train: Callable[[J, Worker], R],
    on_step: OnStep,
    *,
    workers: TrainersSection,
    gpu: bool,
) -> tuple[J, E, R]:
    """Encode a file's rows while the workers start, then train on them.

    Args:
        prepare: writes the encoded rows; returns the job and what else is to be known of them.
        train: the objective's function, called in each worker.
    """
    async with TrainingWorkers(workers, gpu) as group:
        group.start()
        job, encoded = await in_background(prepare, "encode")
        return job, encoded, await group.run(train, job, on_step)


def publish(trained: Path, out: str, record: FileTrainingRecord) -> None:
    """Write `training.json` into a trained model's folder, move it to its output folder, and remove the work folder."""
    record.write(str(trained / "training.json"))
    os.replace(trained, out)
    shutil.rmtree(trained.parent)


def sha256_of(rows: Iterable[Any]) -> str:
    """Return the sha256 of rows of plain values, in their order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row).encode() + b"\n")
    return digest.hexdigest()
