"""`rlaif train`: one training of a policy from a file, without a run, whatever its objective.

Invariant: see `rlaif.training.policy_file`.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar

from rlaif.data.left_out import LeftOut
from rlaif.errors import UserError
from rlaif.io.column_names import ANY_NAMES, ColumnNames
from rlaif.models.resolve import check_model
from rlaif.models.trainable import check_trainable
from rlaif.store.records.file_training_record import FileTrainingRecord
from rlaif.training.group_training import GroupTrainingResult
from rlaif.training.job import OnStep, TrainingJob, Worker
from rlaif.training.policy_file import (
    PolicyFileSettings,
    StartingModel,
    check_template,
    open_model,
    parse_settings,
    starting_policy,
    training_job,
)
from rlaif.training.standalone import publish, sha256_of, train_from_file, work_folder

if TYPE_CHECKING:
    import pyarrow as pa

FileObjective = Literal["dpo", "sft", "kto"]
"""The objectives that learn from a file."""


class FileRow(Protocol):
    """A row to learn from; its prompt is a text, a chat or a question."""

    @property
    def id(self) -> str: ...

    @property
    def prompt(self) -> Any: ...


X = TypeVar("X", bound=FileRow)
P = TypeVar("P", bound=PolicyFileSettings)


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Rows for the training's Parquet file, and the ids of those that are longer than the model's context."""

    table: "pa.Table | None"
    too_long: list[str]


@dataclass(frozen=True, slots=True)
class PolicyOutcome:
    """A finished training from a file.

    Attributes:
        too_long: ids of the rows that were left out because they are longer than the model's context.
        left_out: the rows of the file that teach nothing.
        out: the policy's folder.
    """

    result: GroupTrainingResult
    too_long: list[str]
    left_out: LeftOut
    out: str

    @property
    def summary(self) -> str:
        """The training in one line for a person."""
        return f"{self.result.summary}; policy in {self.out}"


class PolicyFile(ABC, Generic[P, X]):
    """What an objective knows of its files.

    Attributes:
        settings: of `--set`.
        row: the field's word for one row.
    """

    settings: ClassVar[type[Any]]
    row: ClassVar[str]

    def prepare(self, settings: P) -> Sequence[str]:
        """Read what the settings name beside the policy; returns what of it decides the training."""
        return ()

    @abstractmethod
    def read(self, file: str, columns: ColumnNames, settings: P) -> tuple[list[X], LeftOut]:
        """Read the rows to learn from, and what the file has beside them."""

    @abstractmethod
    def identity(self, row: X) -> list[Any]:
        """Return all of a row that decides what is learned, as plain values."""

    @abstractmethod
    def encode(self, rows: Sequence[X], start: StartingModel, settings: P) -> EncodedRows:
        """Encode rows for a policy; a table of None has no row."""

    @abstractmethod
    def train(self, job: TrainingJob[Any], worker: Worker) -> GroupTrainingResult:
        """Train and save a policy; every worker calls, the first writes."""

    @abstractmethod
    def record(self, settings: P, **fields: Any) -> FileTrainingRecord:
        """Return the record of a training, of the fields that all have."""


def policy_file(objective: FileObjective) -> PolicyFile[Any, Any]:
    """Return an objective's files."""
    if objective == "sft":
        from rlaif.training.sft.standalone import SftFile

        return SftFile()
    if objective == "kto":
        from rlaif.training.kto.standalone import KtoFile

        return KtoFile()
    from rlaif.training.dpo.standalone import DpoFile

    return DpoFile()


def train_policy(
    objective: FileObjective,
    file: str,
    policy: str,
    out: str,
    *,
    columns: ColumnNames = ANY_NAMES,
    overrides: Sequence[str],
    address: str | None,
    on_step: OnStep,
) -> PolicyOutcome:
    """Train a policy on a file.

    Args:
        file: of preferences, of demonstrations or of ratings, by the objective.
        policy: a hub id, a model's folder, an adapter's folder or `builtin:...`; also the reference policy.
        out: folder to make.
        columns: the file's own names.
        overrides: settings of the objective, such as `training.epochs=2`.
        address: Ray cluster to join; None starts one here.

    Raises:
        UserError: the file, the policy or a setting is invalid, or `out` exists.
        WorkError: the training failed.
    """
    from rlaif.cluster.ray_cluster import ray_cluster, uses_gpus

    files = policy_file(objective)
    work = work_folder(out, "the policy")
    settings, adapter = parse_settings(files.settings, policy, overrides)
    check_model(policy, settings.policy.revision)
    check_trainable(policy, settings.policy.revision)
    decisive = files.prepare(settings)
    rows, left_out = files.read(file, columns, settings)
    check_template(settings.policy, policy, chats=any(not isinstance(row.prompt, str) for row in rows))
    sha = sha256_of(map(files.identity, rows))
    with ray_cluster(address):
        gpu = uses_gpus(settings.cluster.device)
        prepare = partial(_prepare, files, settings, adapter, rows, work, parts=[sha, *decisive], gpu=gpu)
        train = train_from_file(prepare, files.train, on_step, workers=settings.cluster.training, gpu=gpu)
        job, too_long, result = asyncio.run(train)
    record = files.record(
        settings,
        file=file,
        sha256=sha,
        policy=starting_policy(settings, adapter, job),
        too_long=too_long,
        left_out=left_out.by_reason,
        training=settings.training,
        files=result.files,
        log=result.log,
        **result.shown,
    )
    publish(Path(job.out), out, record)
    return PolicyOutcome(result, too_long, left_out, out)


def _prepare(
    files: PolicyFile[P, X],
    settings: P,
    adapter: str,
    rows: list[X],
    work: Path,
    *,
    parts: Sequence[str],
    gpu: bool,
) -> tuple[TrainingJob[Any], list[str]]:
    """Encode the rows into the work folder; returns the training and the ids of rows that are too long."""
    start = open_model(settings, adapter)
    encoded = files.encode(rows, start, settings)
    if encoded.table is None:
        raise UserError(f"no {files.row} fits the model's context of {start.context} tokens; expected at least one")
    return training_job(settings, start, work, rows=encoded.table, parts=parts, gpu=gpu), encoded.too_long
