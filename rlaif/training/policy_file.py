"""What the trainings of a policy from a file share: their settings, the adapter that goes on, and the work folder.

Invariant: the same command continues a killed training from `OUT.work`; other rows, weights or settings begin anew. An
adapter that is trained further decides its own settings.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field

from rlaif.models.merge import tokenizer_folder
from rlaif.models.policy_source import continued_lora
from rlaif.models.resolve import find_adapter, resolve_adapter, resolve_model, weights_id
from rlaif.models.template_source import check_chat_template
from rlaif.recipe import ClusterSection, OptimizerSection, PolicySection, parse_overrides
from rlaif.recipe.base import Section
from rlaif.store.records.file_training_record import StartingPolicy
from rlaif.store.shards import write_table
from rlaif.training.job import StartingWeights, TrainingJob


class PolicyFileSettings(Section):
    """The settings of `rlaif train --set`; each section is a recipe's, and an objective adds its own `training`."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the order, of new adapter weights and of dropout."""
    policy: PolicySection
    cluster: ClusterSection = ClusterSection()
    training: OptimizerSection


if TYPE_CHECKING:
    import pyarrow as pa

P = TypeVar("P", bound=PolicyFileSettings)


def parse_settings(kind: type[P], policy: str, overrides: Sequence[str]) -> tuple[P, str]:
    """Return the settings for a model or an adapter that peft saved, and the adapter to continue, "" without one.

    Raises:
        UserError: a setting is unknown or differs from the adapter's, or it is not a LoRA adapter.
    """
    whole = {"policy": {"model": policy}}
    adapter = find_adapter(policy)
    if adapter is None:
        return parse_overrides(kind, overrides, whole), ""
    base = {"model": adapter.base, "revision": adapter.base_revision}
    given = {"policy": base, "training": {"lora": adapter.lora.model_dump()}}
    settings = parse_overrides(kind, overrides, given)
    if settings.training.lora is None:
        # All weights are trained, from the adapter merged into its base.
        return parse_overrides(kind, overrides, whole), ""
    continued_lora(settings.training.lora, adapter, "--set: training.lora")
    return settings, policy


def check_template(section: PolicySection, policy: str, *, chats: bool) -> None:
    """Raise UserError if a policy has no chat template for a file of chats, or does not take the arguments for it."""
    if chats or section.chat_template_kwargs:
        check_chat_template(policy, section.revision, section.chat_template_kwargs, key="policy.chat_template_kwargs")


@dataclass(frozen=True, slots=True)
class StartingModel:
    """The policy that a training from a file starts from, on this node.

    Attributes:
        id: sha256 of its weights.
        adapter: path or hub id of the adapter that is continued, "" without one.
        context: its longest sequence, in tokens; None is unlimited.
    """

    id: str
    adapter: str
    tokenizer: Any
    context: int | None


def open_model(settings: PolicyFileSettings, adapter: str) -> StartingModel:
    """Resolve the policy of some settings, and the adapter of `parse_settings`."""
    from transformers import AutoConfig, AutoTokenizer

    base = resolve_model(settings.policy.model, settings.policy.revision)
    tuned = resolve_adapter(adapter) if adapter else ""
    return StartingModel(
        id=weights_id(tuned or base),
        adapter=str(Path(adapter).resolve()) if adapter and Path(adapter).is_dir() else adapter,
        tokenizer=AutoTokenizer.from_pretrained(tokenizer_folder(base, tuned)),
        context=getattr(AutoConfig.from_pretrained(base).get_text_config(), "max_position_embeddings", None),
    )


def training_job(
    settings: PolicyFileSettings,
    source: StartingModel,
    work: Path,
    *,
    rows: "pa.Table",
    parts: Sequence[str],
    gpu: bool,
) -> TrainingJob[Any]:
    """Write a training's rows into its work folder, unless they are there, and return the training on them.

    Args:
        parts: what decides the training beside the policy and the settings: with others, the work folder's checkpoints
            belong to another training.
    """
    policy = settings.policy
    every = [*parts, source.id, settings.training.model_dump_json()]
    if policy.chat_template_kwargs:
        every.append(json.dumps(policy.chat_template_kwargs, sort_keys=True))
    key = hashlib.sha256("\0".join(every).encode()).hexdigest()
    stamp, path = work / "key", str(work / "rows.parquet")
    if not stamp.is_file() or stamp.read_text() != key:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        write_table(path, rows)
        stamp.write_text(key)
    checkpointed = getattr(settings.training, "checkpoint_steps", None) is not None
    return TrainingJob(
        start=StartingWeights(policy.model, policy.revision, policy.dtype, id=source.id, adapter=source.adapter),
        rows=path,
        out=str(work / "policy"),
        settings=settings.training,
        seed=settings.seed,
        gpu=gpu,
        workers=settings.cluster.training,
        checkpoints=str(work / "checkpoints") if checkpointed else None,
    )


def starting_policy(settings: PolicyFileSettings, adapter: str, job: TrainingJob[Any]) -> StartingPolicy:
    """Return the record of the policy that a training starts from."""
    return StartingPolicy(
        model=settings.policy.model,
        adapter=adapter or None,
        id=job.start.id,
        chat_template_kwargs=settings.policy.chat_template_kwargs,
    )
