"""`rlaif train`: one DPO training from a file of preferences, without a run.

Invariant: the output folder is there whole or not at all. What a killed training had computed lies in `OUT.work`, and
the same command goes on from it.
"""

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rlaif.background import in_background
from rlaif.data.preferences import Preference, read_preferences
from rlaif.errors import UserError
from rlaif.recipe import Recipe, parse_recipe
from rlaif.training.dpo.job import TrainingJob, TrainingResult
from rlaif.training.dpo.launch import train
from rlaif.training.workers import OnStep, TrainingWorkers


@dataclass(frozen=True, slots=True)
class Start:
    """What a training starts from.

    Attributes:
        base: the model: a hub id, a folder or `builtin:...`.
        adapter: folder of the adapter on it, or "".
        rank, alpha, targets: of that adapter.
    """

    base: str
    adapter: str = ""
    rank: int = 0
    alpha: float = 0.0
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it, for whoever asked.

    Attributes:
        result: of the training.
        pairs: rows of the file.
        too_long: ids of the pairs that the model's context does not hold; they were left out.
        out: the policy's folder.
    """

    result: TrainingResult
    pairs: int
    too_long: list[str]
    out: str


def find_start(policy: str) -> Start:
    """Return what `--policy` names: a model, or the folder of an adapter with the model that it belongs to.

    Raises:
        UserError: the adapter's folder does not name its model.
    """
    config = Path(policy) / "adapter_config.json"
    if not config.is_file():
        return Start(policy)
    value = json.loads(config.read_text())
    base = value.get("base_model_name_or_path")
    if not base:
        raise UserError(f"{config}: base_model_name_or_path: expected the model that the adapter belongs to")
    targets = value.get("target_modules") or "all-linear"
    return Start(
        base,
        policy,
        value["r"],
        value["lora_alpha"],
        (targets,) if isinstance(targets, str) else tuple(sorted(targets)),
    )


def make_recipe(start: Start, overrides: list[str]) -> Recipe:
    """Return a recipe whose sections on training, policy and cluster say how to train.

    Raises:
        UserError: a setting is unknown, or is not that of the adapter to go on with.
    """
    # The questions and the judge are a recipe's, and nothing here asks for them.
    file = {"type": "file", "path": "none.jsonl"}
    tree: dict[str, Any] = {
        "policy": {"model": start.base},
        "questions": {"train": file, "heldout": file},
        "judge": {"name": "reference"},
    }
    if start.adapter:
        targets = start.targets[0] if start.targets == ("all-linear",) else list(start.targets)
        tree["training"] = {"lora": {"rank": start.rank, "alpha": start.alpha, "targets": targets}}
    recipe = parse_recipe(json.dumps(tree), "--set", overrides)
    lora = recipe.training.lora
    if start.adapter and (lora is None or (lora.rank, lora.alpha) != (start.rank, start.alpha)):
        raise UserError(
            f"--set: training.lora: {start.adapter} is an adapter of rank {start.rank} and alpha {start.alpha:g}, "
            "and a training goes on with what it starts from"
        )
    return recipe


def train_file(
    file: str,
    policy: str,
    out: str,
    overrides: list[str],
    address: str | None,
    on_step: OnStep,
) -> Outcome:
    """Train a policy on a file of preferences.

    Args:
        file: of `read_preferences`.
        policy: a hub id, a model's folder, an adapter's folder or `builtin:...`; also the reference of the loss.
        out: folder to make.
        overrides: dotted settings, such as `training.beta=0.2`.
        address: Ray cluster to join; None starts one here.
        on_step: called with each step's log entry.

    Raises:
        UserError: the file, the policy or a setting is not what it should be, or `out` is there already.
        WorkError: the training failed.
    """
    from rlaif.cluster.ray_cluster import ray_cluster, uses_gpus
    from rlaif.models.resolve import check_model

    if Path(out).exists():
        raise UserError(f"{out}: is there already; expected a new folder for the policy")
    start = find_start(policy)
    check_model(start.base)
    recipe = make_recipe(start, overrides)
    preferences = read_preferences(file)
    work = Path(f"{out.rstrip('/')}.work")
    with ray_cluster(address):
        gpu = uses_gpus(recipe.cluster.device)
        prepare = partial(_prepare, recipe, start, preferences, out, work, gpu)
        job, too_long, result = asyncio.run(_train(prepare, recipe, gpu, on_step))
    outcome = Outcome(result, len(preferences), too_long, out)
    record = {
        "file": file,
        "sha256": _sha(preferences),
        "policy": {"model": start.base, "adapter": start.adapter or None, "id": job.start_id},
        "too_long": too_long,
        "training": recipe.training.model_dump(mode="json"),
        **{name: value for name, value in result.to_json().items() if name != "probe"},
    }
    (Path(out) / "training.json").write_text(json.dumps(record, indent=2) + "\n")
    shutil.rmtree(work)
    return outcome


def _prepare(
    recipe: Recipe, start: Start, preferences: list[Preference], out: str, work: Path, gpu: bool
) -> tuple[TrainingJob, list[str]]:
    """Encode the preferences into the work folder and return the training on them."""
    import pyarrow as pa
    from transformers import AutoConfig, AutoTokenizer

    from rlaif.models.resolve import resolve_model, weights_id
    from rlaif.store.schemas import PAIRS
    from rlaif.store.shards import write_table
    from rlaif.training.dpo.encode import encode_preferences

    base = resolve_model(start.base, recipe.policy.revision)
    policy_id = weights_id(start.adapter or base)
    config = AutoConfig.from_pretrained(base).get_text_config()
    context = getattr(config, "max_position_embeddings", None)
    encoded = encode_preferences(preferences, AutoTokenizer.from_pretrained(base), context, policy_id)
    if not encoded.rows:
        raise UserError(f"no pair fits the model's context of {context} tokens; expected at least one")
    # Another file or model in the same work folder would go on from a checkpoint that is not its own.
    key = hashlib.sha256(f"{_sha(preferences)}\0{policy_id}\0{recipe.training.model_dump_json()}".encode()).hexdigest()
    stamp = work / "key"
    if not stamp.is_file() or stamp.read_text() != key:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        rows = [{**dict.fromkeys(PAIRS.names), **row} for row in encoded.rows]
        write_table(str(work / "pairs.parquet"), pa.Table.from_pylist(rows, schema=PAIRS))
        stamp.write_text(key)
    job = TrainingJob(
        base=start.base,
        revision=recipe.policy.revision,
        start=str(Path(start.adapter).resolve()) if start.adapter else "",
        start_id=policy_id,
        pairs=str((work / "pairs.parquet").resolve()),
        out=str(Path(out).resolve()),
        training=recipe.training,
        seed=recipe.seed,
        dtype=recipe.policy.dtype,
        gpu=gpu,
        strategy=recipe.cluster.training.strategy,
        threads=recipe.cluster.training.threads,
        checkpoints=str((work / "checkpoints").resolve()) if recipe.training.checkpoint_steps else None,
    )
    return job, encoded.too_long


async def _train(
    prepare: Callable[[], tuple[TrainingJob, list[str]]], recipe: Recipe, gpu: bool, on_step: OnStep
) -> tuple[TrainingJob, list[str], TrainingResult]:
    async with TrainingWorkers(recipe.cluster.training, gpu) as workers:
        workers.start()  # They import while the preferences are encoded.
        job, too_long = await in_background(prepare, "encode")
        return job, too_long, await train(workers, job, on_step)


def _sha(preferences: list[Preference]) -> str:
    digest = hashlib.sha256()
    for preference in preferences:
        content = [
            preference.id,
            preference.prompt,
            preference.chosen,
            preference.rejected,
            preference.margin,
            preference.source,
        ]
        digest.update(json.dumps(content).encode() + b"\n")
    return digest.hexdigest()
