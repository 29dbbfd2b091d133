"""`rlaif train`: one DPO training from a file of preferences, without a run.

Invariant: the same command continues a killed training from `OUT.work`; other pairs, weights or settings begin anew. An
adapter that is trained further decides its own settings.
"""

import asyncio
import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from pydantic import Field

from rlaif.data.left_out import LeftOut
from rlaif.data.preferences import Preference, read_preferences
from rlaif.errors import UserError
from rlaif.io.column_names import ANY_NAMES, ColumnNames
from rlaif.models.merge import tokenizer_folder
from rlaif.models.policy_source import continued_lora
from rlaif.models.resolve import check_model, find_adapter, resolve_adapter, resolve_model, weights_id
from rlaif.models.template_source import check_chat_template
from rlaif.models.trainable import check_trainable
from rlaif.recipe import ClusterSection, PolicySection, TrainingSection, parse_overrides
from rlaif.recipe.base import Section
from rlaif.store.records.file_training_record import DpoFileRecord, StartingPolicy
from rlaif.training.dpo.encode import encode_preferences
from rlaif.training.dpo.train import DpoResult, train_dpo
from rlaif.training.job import OnStep, StartingWeights, TrainingJob
from rlaif.training.standalone import publish, sha256_of, train_from_file, work_folder


class DpoSettings(Section):
    """The settings of `rlaif train --set`; each section is a recipe's."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the order, of new adapter weights and of dropout."""
    policy: PolicySection
    training: TrainingSection = TrainingSection()
    cluster: ClusterSection = ClusterSection()


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
    settings, adapter = parse_settings(policy, overrides)
    check_model(policy)
    check_trainable(policy)
    read = read_preferences(file, columns)
    preferences = read.rows
    if settings.policy.chat_template_kwargs or any(not isinstance(each.prompt, str) for each in preferences):
        policy_section = settings.policy
        check_chat_template(
            policy, policy_section.revision, policy_section.chat_template_kwargs,
            key="policy.chat_template_kwargs",
        )  # fmt: skip
    with ray_cluster(address):
        gpu = uses_gpus(settings.cluster.device)
        prepare = partial(_prepare, settings, adapter, preferences, work, gpu=gpu)
        train = train_from_file(prepare, train_dpo, on_step, workers=settings.cluster.training, gpu=gpu)
        job, too_long, result = asyncio.run(train)
    record = DpoFileRecord(
        file=file,
        sha256=_sha(preferences),
        policy=StartingPolicy(
            model=settings.policy.model,
            adapter=adapter or None,
            id=job.start.id,
            chat_template_kwargs=settings.policy.chat_template_kwargs,
        ),
        too_long=too_long,
        left_out=read.left_out.by_reason,
        training=settings.training,
        **{name: value for name, value in asdict(result).items() if name != "probe"},
    )
    publish(Path(job.out), out, record)
    return DpoOutcome(result, too_long, read.left_out, out)


def parse_settings(policy: str, overrides: Sequence[str]) -> tuple[DpoSettings, str]:
    """Return the settings for a model or an adapter that peft saved, and the adapter to continue, "" without one.

    Raises:
        UserError: a setting is unknown or differs from the adapter's, or it is not a LoRA adapter.
    """
    whole = {"policy": {"model": policy}}
    adapter = find_adapter(policy)
    if adapter is None:
        return parse_overrides(DpoSettings, overrides, whole), ""
    base = {"model": adapter.base, "revision": adapter.base_revision}
    given = {"policy": base, "training": {"lora": adapter.lora.model_dump()}}
    settings = parse_overrides(DpoSettings, overrides, given)
    if settings.training.lora is None:
        # All weights are trained, from the adapter merged into its base.
        return parse_overrides(DpoSettings, overrides, whole), ""
    continued_lora(settings.training.lora, adapter, "--set: training.lora")
    return settings, policy


def _prepare(
    settings: DpoSettings, adapter: str, preferences: list[Preference], work: Path, *, gpu: bool
) -> tuple[TrainingJob[TrainingSection], list[str]]:
    """Encode the preferences into the work folder; returns the training on them and the ids of too long pairs."""
    import pyarrow as pa
    from transformers import AutoConfig, AutoTokenizer

    from rlaif.store.schemas import PAIRS
    from rlaif.store.shards import write_table

    policy, training = settings.policy, settings.training
    base = resolve_model(policy.model, policy.revision)
    tuned = resolve_adapter(adapter) if adapter else ""
    policy_id = weights_id(tuned or base)
    context = getattr(AutoConfig.from_pretrained(base).get_text_config(), "max_position_embeddings", None)
    encoded = encode_preferences(
        preferences, AutoTokenizer.from_pretrained(tokenizer_folder(base, tuned)), context, policy_id,
        chat_template_kwargs=policy.chat_template_kwargs,
    )  # fmt: skip
    if not encoded.rows:
        raise UserError(f"no pair fits the model's context of {context} tokens; expected at least one")
    # With another file, model or setting the work folder's checkpoints belong to another training.
    parts = [_sha(preferences), policy_id, training.model_dump_json()]
    if policy.chat_template_kwargs:
        parts.append(json.dumps(policy.chat_template_kwargs, sort_keys=True))
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    stamp = work / "key"
    if not stamp.is_file() or stamp.read_text() != key:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        rows = [{**dict.fromkeys(PAIRS.names), **row} for row in encoded.rows]
        write_table(str(work / "pairs.parquet"), pa.Table.from_pylist(rows, schema=PAIRS))
        stamp.write_text(key)
    name = str(Path(adapter).resolve()) if Path(adapter).is_dir() and adapter else adapter
    job = TrainingJob(
        start=StartingWeights(policy.model, policy.revision, policy.dtype, id=policy_id, adapter=name),
        rows=str(work / "pairs.parquet"),
        out=str(work / "policy"),
        settings=training,
        seed=settings.seed,
        gpu=gpu,
        workers=settings.cluster.training,
        checkpoints=str(work / "checkpoints") if training.checkpoint_steps else None,
    )
    return job, encoded.too_long


def _sha(preferences: Sequence[Preference]) -> str:
    return sha256_of(
        [p.id, p.prompt, p.chosen, p.rejected, p.margin, p.source, *([p.tools] if p.tools else [])] for p in preferences
    )
