"""`rlaif train --objective sft`: one supervised fine-tuning from a file of demonstrations, without a run.

Invariant: see `rlaif.training.policy_file`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rlaif.data.demonstrations import Demonstration, read_demonstrations
from rlaif.data.question import Question
from rlaif.errors import UserError
from rlaif.io.column_names import ANY_NAMES, ColumnNames
from rlaif.models.chat_template import ChatTemplate
from rlaif.models.resolve import check_model
from rlaif.models.trainable import check_trainable
from rlaif.prompts.template import PromptTemplate, load_template
from rlaif.recipe import SftSection
from rlaif.store.records.file_training_record import SftFileRecord, TemplateRecord
from rlaif.training.job import OnStep, TrainingJob
from rlaif.training.policy_file import (
    PolicyFileSettings,
    check_template,
    open_source,
    parse_settings,
    starting_policy,
    training_job,
)
from rlaif.training.sft.encode import encode_demonstrations
from rlaif.training.sft.train import SftResult, sequence_row, train_sft
from rlaif.training.standalone import publish, sha256_of, train_from_file, work_folder


class SftSettings(PolicyFileSettings):
    """The settings of `rlaif train --objective sft --set`; each section is a recipe's."""

    training: SftSection = SftSection()


@dataclass(frozen=True, slots=True)
class SftOutcome:
    """A finished training from a file.

    Attributes:
        too_long: ids of the demonstrations that were left out because they are longer than the model's context.
        out: the policy's folder.
    """

    result: SftResult
    too_long: list[str]
    out: str


def train_demonstrations(
    file: str,
    policy: str,
    out: str,
    *,
    overrides: Sequence[str],
    address: str | None,
    on_step: OnStep,
    columns: ColumnNames = ANY_NAMES,
) -> SftOutcome:
    """Train a policy on a file of demonstrations.

    Args:
        file: of `read_demonstrations`.
        policy: a hub id, a model's folder, an adapter's folder or `builtin:...`.
        out: folder to make.
        overrides: settings of `SftSettings`, such as `training.epochs=2`.
        address: Ray cluster to join; None starts one here.
        columns: the file's own names.

    Raises:
        UserError: the file, the policy or a setting is invalid, or `out` exists.
        WorkError: the training failed.
    """
    from rlaif.cluster.ray_cluster import ray_cluster, uses_gpus

    work = work_folder(out, "the policy")
    settings, adapter = parse_settings(SftSettings, policy, overrides)
    check_model(policy)
    check_trainable(policy)
    template = load_template(settings.policy.prompt)
    demonstrations = read_demonstrations(file, columns)
    check_template(settings.policy, policy, chats=any(not isinstance(each.prompt, str) for each in demonstrations))
    with ray_cluster(address):
        gpu = uses_gpus(settings.cluster.device)
        prepare = partial(_prepare, settings, adapter, demonstrations, work, template=template, gpu=gpu)
        train = train_from_file(prepare, train_sft, on_step, workers=settings.cluster.training, gpu=gpu)
        job, too_long, result = asyncio.run(train)
    record = SftFileRecord(
        file=file,
        sha256=_sha(demonstrations),
        policy=starting_policy(settings, adapter, job),
        prompt=TemplateRecord(name=template.name, sha256=template.sha),
        too_long=too_long,
        training=settings.training,
        **asdict(result),
    )
    publish(Path(job.out), out, record)
    return SftOutcome(result, too_long, out)


def _prepare(
    settings: SftSettings,
    adapter: str,
    demonstrations: list[Demonstration],
    work: Path,
    *,
    template: PromptTemplate,
    gpu: bool,
) -> tuple[TrainingJob[SftSection], list[str]]:
    """Encode the demonstrations into the work folder; returns the training and the ids of those that are too long."""
    import pyarrow as pa

    source = open_source(settings, adapter)
    chat_template = ChatTemplate(source.tokenizer, settings.policy.chat_template_kwargs)
    encoded = encode_demonstrations(demonstrations, source.tokenizer, chat_template, template, source.context)
    if not encoded.sequences:
        raise UserError(f"no demonstration fits the model's context of {source.context} tokens; expected at least one")
    rows = pa.Table.from_pylist([sequence_row(sequence) for sequence in encoded.sequences])
    parts = [_sha(demonstrations), template.sha]
    return training_job(settings, source, work, rows=rows, parts=parts, gpu=gpu), encoded.too_long


def _sha(demonstrations: Sequence[Demonstration]) -> str:
    return sha256_of([each.id, _plain(each.prompt), each.answer, *each.tools] for each in demonstrations)


def _plain(prompt: Any) -> Any:
    return [prompt.question, prompt.context] if isinstance(prompt, Question) else prompt
