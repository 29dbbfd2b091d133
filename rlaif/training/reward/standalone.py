"""`rlaif train-reward`: from a file of labels or preferences to a folder that a judge of kind `reward-model` names.

Invariant: the output folder is there whole or not at all, and `training.json` in it accounts for every row of the file:
trained on, held out, a tie, or too long.
"""

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from rlaif.background import in_background
from rlaif.data.labels import labels_jsonl
from rlaif.errors import UserError
from rlaif.prompts.template import PromptTemplate, load_template
from rlaif.recipe import parse_overrides
from rlaif.training.reward.encode import EncodedPairs, encode_pairs
from rlaif.training.reward.heldout import HeldOut, score_chats, tally
from rlaif.training.reward.job import RewardJob, RewardResult
from rlaif.training.reward.pairs import RewardPair, RewardPairs, pairs_sha, read_pairs
from rlaif.training.reward.settings import RewardSettings
from rlaif.training.reward.split import held_out
from rlaif.training.workers import OnStep, TrainingWorkers


@dataclass(frozen=True, slots=True)
class RewardOutcome:
    """What came of it, for whoever asked.

    Attributes:
        result: of the training.
        questions: that were trained on.
        ties: labels on which people see none better; left out.
        cut: ids of pairs whose context lost its beginning.
        too_long: ids of pairs that do not fit without any context; left out.
        held_out: of the questions that were not trained on; None where none were held out.
        out: the model's folder.
        judge: its judge file.
    """

    result: RewardResult
    questions: int
    ties: int
    cut: list[str]
    too_long: list[str]
    held_out: HeldOut | None
    out: str
    judge: str


def train_reward_file(
    file: str,
    model: str,
    out: str,
    *,
    prompt: str,
    heldout_share: float,
    overrides: Sequence[str],
    address: str | None,
    on_step: OnStep,
) -> RewardOutcome:
    """Train a reward model on a file of labels or preferences.

    Args:
        file: of `read_pairs`.
        model: what to start from: a language model or a reward model, as a hub id, a folder or `builtin:...`.
        out: folder to make.
        prompt: prompt file that puts a question, by name or path.
        heldout_share: of the questions, to measure on.
        overrides: settings of `RewardSettings`, such as `training.epochs=2`.
        address: Ray cluster to join; None starts one here.
        on_step: called with each step's log entry.

    Raises:
        UserError: the file, the model, the prompt or a setting is not what it should be, or `out` is there already.
        WorkError: the training failed.
    """
    from rlaif.cluster.ray_cluster import ray_cluster, uses_gpus
    from rlaif.models.resolve import check_model

    if Path(out).exists():
        raise UserError(f"{out}: is there already; expected a new folder for the reward model")
    settings = parse_overrides(RewardSettings, overrides)
    answer_template = load_template(prompt)
    if answer_template.kind != "answer":
        raise UserError(f"{answer_template.path}: kind is {answer_template.kind}; --prompt expects kind answer")
    check_model(model)
    read = read_pairs(file, answer_template)
    out_of_training = held_out((pair.question for pair in read.pairs), heldout_share, settings.seed)
    train = [pair for pair in read.pairs if pair.question not in out_of_training]
    test = [pair for pair in read.pairs if pair.question in out_of_training]
    work = Path(f"{out.rstrip('/')}.work").resolve()
    with ray_cluster(address):
        job = RewardJob(
            model, str(work / "pairs.parquet"), str(work / "model"), settings, uses_gpus(settings.cluster.device)
        )
        prepare = partial(_prepare, model, settings, train, work)
        model_id, encoded, result, measured = asyncio.run(_train(prepare, job, test, on_step))
    trained = [pair for pair in train if pair.id not in set(encoded.too_long)]
    record = {
        "file": file,
        "form": read.form,
        "sha256": hashlib.sha256(_bytes(file)).hexdigest(),
        "model": {"model": model, "id": model_id},
        "prompt": {"name": answer_template.name, "sha256": answer_template.sha},
        "ties": read.ties,
        "train": {**_counts(trained), "sha256": pairs_sha(trained), "cut": encoded.cut, "too_long": encoded.too_long},
        "heldout": _held_out_record(test, measured),
        "settings": settings.model_dump(mode="json"),
        **result.to_json(),
    }
    _finish(work / "model", out, record, read, out_of_training, answer_template, prompt)
    shutil.rmtree(work)
    return RewardOutcome(
        result, len({pair.question for pair in trained}), read.ties, encoded.cut, encoded.too_long, measured, out,
        str(Path(out) / "judge.yaml"),
    )  # fmt: skip


def _prepare(model: str, settings: RewardSettings, pairs: list[RewardPair], work: Path) -> tuple[str, EncodedPairs]:
    """Write the rows to train on into the work folder; returns the model's id and what became of the pairs."""
    import pyarrow as pa
    from transformers import AutoConfig, AutoTokenizer

    from rlaif.models.resolve import resolve_model, weights_id
    from rlaif.store.shards import write_table

    folder = resolve_model(model, settings.revision)
    config = AutoConfig.from_pretrained(folder)
    classifier = any(name.endswith("ForSequenceClassification") for name in config.architectures or [])
    if classifier and config.num_labels != 1:
        raise UserError(f"{model}: a classifier with {config.num_labels} outputs; expected one, or a language model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.chat_template:
        raise UserError(f"{model}: its tokenizer has no chat template; expected one that writes a conversation")
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    limits = [settings.training.max_length, tokenizer.model_max_length, context]
    longest = min(int(limit) for limit in limits if limit)
    encoded = encode_pairs(pairs, tokenizer, longest)
    if not encoded.rows:
        raise UserError(f"none of {len(pairs)} pairs fits into {longest} tokens; expected at least one to train on")
    shutil.rmtree(work, ignore_errors=True)
    write_table(str(work / "pairs.parquet"), pa.Table.from_pylist(encoded.rows))
    return weights_id(folder), encoded


async def _train(
    prepare: Callable[[], tuple[str, EncodedPairs]], job: RewardJob, test: list[RewardPair], on_step: OnStep
) -> tuple[str, EncodedPairs, RewardResult, HeldOut | None]:
    import ray

    from rlaif.training.reward.worker import reward_loop

    async with TrainingWorkers(job.settings.cluster.training, job.gpu) as workers:
        workers.start()  # They import while the pairs are encoded.
        model_id, encoded = await in_background(prepare, "encode")
        result = RewardResult(**await workers.run(reward_loop, job, on_step))
    if not test:
        return model_id, encoded, result, None
    # Where the workers ran: the driver may stand on a machine without a GPU.
    task = ray.remote(num_cpus=1 if job.gpu else 0, num_gpus=1 if job.gpu else 0)(score_chats)
    chats = [chat for pair in test for chat in pair.conversations()]
    batch, threads = 2 * job.settings.training.pairs_per_pass, job.settings.cluster.training.threads
    return model_id, encoded, result, tally(test, await task.remote(job.out, chats, job.gpu, batch, threads))


def _counts(pairs: Sequence[RewardPair]) -> dict[str, Any]:
    return {
        "questions": len({pair.question for pair in pairs}),
        "pairs": len(pairs),
        "human": sum(pair.source == "human" for pair in pairs),
    }


def _held_out_record(pairs: Sequence[RewardPair], measured: HeldOut | None) -> dict[str, Any] | None:
    if measured is None:
        return None
    return {**asdict(measured), "accuracy": measured.accuracy, "sha256": pairs_sha(pairs)}


def _finish(
    model: Path,
    out: str,
    record: dict[str, Any],
    read: RewardPairs,
    out_of_training: frozenset[str],
    prompt: PromptTemplate,
    prompt_name: str,
) -> None:
    """Add to a trained model what it was trained on, the held-out labels and a judge file, and put it in its place."""
    (model / "training.json").write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    labels = [label for label in read.labels if label.question in out_of_training]
    if labels:
        (model / "heldout.jsonl").write_bytes(labels_jsonl(labels))
    by_path = "/" in prompt_name or prompt_name.endswith(".md")
    judge = {
        "kind": "reward-model",
        "model": str(Path(out).resolve()),
        "prompt": str(prompt.path.resolve()) if by_path else prompt_name,
    }
    (model / "judge.yaml").write_text(yaml.safe_dump(judge, sort_keys=False), encoding="utf-8")
    os.replace(model, out)


def _bytes(file: str) -> bytes:
    from rlaif.io.files import read_bytes

    return read_bytes(file) or b""
