"""`rlaif train`: one DPO training from a file of preferences, without a run.

Invariant: see `rlaif.training.policy_file`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rlaif.data.left_out import LeftOut
from rlaif.data.preferences import Preference, read_preferences
from rlaif.errors import UserError
from rlaif.io.column_names import ANY_NAMES, ColumnNames
from rlaif.models.resolve import check_model
from rlaif.models.trainable import check_trainable
from rlaif.recipe import TrainingSection
from rlaif.store.records.file_training_record import DpoFileRecord
from rlaif.training.dpo.encode import encode_preferences
from rlaif.training.dpo.train import DpoResult, train_dpo
from rlaif.training.job import OnStep, TrainingJob
from rlaif.training.policy_file import (
    PolicyFileSettings,
    check_template,
    open_source,
    parse_settings,
    starting_policy,
    training_job,
)
from rlaif.training.standalone import publish, sha256_of, train_from_file, work_folder


class DpoSettings(PolicyFileSettings):
    """The settings of `rlaif train --set`; each section is a recipe's."""

    training: TrainingSection = TrainingSection()


@dataclass(frozen=True, slots=True)
class DpoOutcome:
    """A finished training from a file.

    Attributes:
        too_long: ids of the pairs that were left out because they are longer than the model's context.
        left_out: the rows of the file that are no preference.
        out: the policy's folder.
    """

    result: DpoResult
    too_long: list[str]
    left_out: LeftOut
    out: str


def train_file(
    file: str,
    policy: str,
    out: str,
    *,
    columns: ColumnNames = ANY_NAMES,
    overrides: Sequence[str],
    address: str | None,
    on_step: OnStep,
) -> DpoOutcome:
    """Train a policy on a file of preferences.

    Args:
        file: of `read_preferences`.
        policy: a hub id, a model's folder, an adapter's folder or `builtin:...`; also the reference policy.
        out: folder to make.
        columns: the file's own names.
        overrides: settings of `DpoSettings`, such as `training.beta=0.2`.
        address: Ray cluster to join; None starts one here.

    Raises:
        UserError: the file, the policy or a setting is invalid, or `out` exists.
        WorkError: the training failed.
    """
    from rlaif.cluster.ray_cluster import ray_cluster, uses_gpus

    work = work_folder(out, "the policy")
    settings, adapter = parse_settings(DpoSettings, policy, overrides)
    check_model(policy)
    check_trainable(policy)
    read = read_preferences(file, columns)
    preferences = read.rows
    check_template(settings.policy, policy, chats=any(not isinstance(each.prompt, str) for each in preferences))
    with ray_cluster(address):
        gpu = uses_gpus(settings.cluster.device)
        prepare = partial(_prepare, settings, adapter, preferences, work, gpu=gpu)
        train = train_from_file(prepare, train_dpo, on_step, workers=settings.cluster.training, gpu=gpu)
        job, too_long, result = asyncio.run(train)
    record = DpoFileRecord(
        file=file,
        sha256=_sha(preferences),
        policy=starting_policy(settings, adapter, job),
        too_long=too_long,
        left_out=read.left_out.by_reason,
        training=settings.training,
        **{name: value for name, value in asdict(result).items() if name != "probe"},
    )
    publish(Path(job.out), out, record)
    return DpoOutcome(result, too_long, read.left_out, out)


def _prepare(
    settings: DpoSettings, adapter: str, preferences: list[Preference], work: Path, *, gpu: bool
) -> tuple[TrainingJob[TrainingSection], list[str]]:
    """Encode the preferences into the work folder; returns the training on them and the ids of too long pairs."""
    import pyarrow as pa

    from rlaif.store.schemas import PAIRS

    source = open_source(settings, adapter)
    encoded = encode_preferences(
        preferences, source.tokenizer, source.context, source.id,
        chat_template_kwargs=settings.policy.chat_template_kwargs,
    )  # fmt: skip
    if not encoded.rows:
        raise UserError(f"no pair fits the model's context of {source.context} tokens; expected at least one")
    rows = pa.Table.from_pylist([{**dict.fromkeys(PAIRS.names), **row} for row in encoded.rows], schema=PAIRS)
    return training_job(settings, source, work, rows=rows, parts=[_sha(preferences)], gpu=gpu), encoded.too_long


def _sha(preferences: Sequence[Preference]) -> str:
    return sha256_of(
        [p.id, p.prompt, p.chosen, p.rejected, p.margin, p.source, *([p.tools] if p.tools else [])] for p in preferences
    )
