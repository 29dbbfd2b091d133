"""`rlaif train-reward`: from a file of labels or preferences to the folder of a reward model with its judge file.

Invariant: `training.json` accounts for every row of the file: trained on, held out, a tie, unfinished, left
out, or too long.
"""

import asyncio
import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from rlaif.data.labels import Label, labels_jsonl
from rlaif.data.left_out import LeftOut
from rlaif.errors import UserError
from rlaif.evaluation.heldout_pairs import tally
from rlaif.io.column_names import ANY_NAMES, ColumnNames
from rlaif.io.files import read_bytes
from rlaif.io.yaml_file import dump_yaml
from rlaif.models.resolve import check_model
from rlaif.preferences.reward_pairs import RewardPair, read_pairs
from rlaif.prompts.question_prompt import shown_question
from rlaif.prompts.template import PromptTemplate, load_template
from rlaif.recipe import parse_overrides
from rlaif.recipe.reward import RewardTrainingSection
from rlaif.store.records.file_training_record import HeldOutPairs, RewardFileRecord, TemplateRecord
from rlaif.store.records.round_records import BaseModelRecord
from rlaif.training.job import OnStep, TrainingJob
from rlaif.training.reward.pairs import EncodedPairs, held_out
from rlaif.training.reward.preparation import RewardBase, pairs_sha, prepare_training, score_pairs, trained_pairs
from rlaif.training.reward.train import RewardSettings, train_reward_model
from rlaif.training.standalone import publish, train_from_file, work_folder


@dataclass(frozen=True, slots=True)
class RewardOutcome:
    """A finished training from a file, with the model's folder `out` and the file's rows that are no preference."""

    record: RewardFileRecord
    out: str
    left_out: LeftOut

    @property
    def judge(self) -> str:
        return str(Path(self.out) / "judge.yaml")


def train_reward_file(
    file: str,
    model: str,
    out: str,
    *,
    prompt: str,
    heldout_share: float,
    columns: ColumnNames = ANY_NAMES,
    overrides: Sequence[str],
    address: str | None,
    on_step: OnStep,
) -> RewardOutcome:
    """Train a reward model on a file of labels or preferences.

    Args:
        file: of `read_pairs`.
        model: a language model or a reward model, as a hub id, a folder or `builtin:...`.
        prompt: template that asks the policy a question, by name or path.
        heldout_share: of the questions, to measure on.
        columns: the file's own names.
        overrides: settings of `RewardSettings`, such as `training.epochs=2`.
        address: Ray cluster to join; None starts one here.

    Raises:
        UserError: the file, the model, the template or a setting is invalid, or `out` exists.
        WorkError: the training failed.
    """
    from rlaif.cluster.ray_cluster import ray_cluster, uses_gpus

    work = work_folder(out, "the reward model")
    settings = parse_overrides(RewardSettings, overrides)
    template = load_template(prompt)
    if template.kind != "answer":
        raise UserError(f"{template.path}: kind is {template.kind}; --prompt expects kind answer")
    check_model(model, settings.revision)
    read = read_pairs(file, template, columns)
    out_of_training = held_out((pair.question for pair in read.pairs), heldout_share, settings.seed)
    train = [pair for pair in read.pairs if pair.question not in out_of_training]
    test = [pair for pair in read.pairs if pair.question in out_of_training]
    with ray_cluster(address):
        gpu = uses_gpus(settings.cluster.device)
        base = RewardBase(model, settings.revision, settings.dtype)
        prepare = partial(_prepare, base, settings, train, work, gpu=gpu)
        training = train_from_file(prepare, train_reward_model, on_step, workers=settings.cluster.training, gpu=gpu)
        job, encoded, result = asyncio.run(training)
        measured = asyncio.run(_measure(job, test))
    record = RewardFileRecord(
        file=file,
        form=read.form,
        sha256=hashlib.sha256(read_bytes(file) or b"").hexdigest(),
        prompt=TemplateRecord(name=template.name, sha256=template.sha),
        ties=read.ties,
        unfinished=list(read.unfinished),
        left_out=read.left_out.by_reason,
        model=BaseModelRecord(model=model, id=job.start.id),
        train=trained_pairs(train, encoded),
        heldout=measured,
        settings=settings.model_dump(mode="json"),
        **asdict(result),
    )
    trained = Path(job.out)
    _write_judge(trained, out, prompt, template)
    _write_labels(trained, read.labels, out_of_training)
    publish(trained, out, record)
    return RewardOutcome(record, out, read.left_out)


def _prepare(
    base: RewardBase, settings: RewardSettings, pairs: Sequence[RewardPair], work: Path, *, gpu: bool
) -> tuple[TrainingJob[RewardTrainingSection], EncodedPairs]:
    """Write the encoded pairs into the work folder; returns the training on them."""
    shutil.rmtree(work, ignore_errors=True)
    return prepare_training(
        base, pairs, settings.training,
        rows=str(work / "pairs.parquet"), out=str(work / "model"), seed=settings.seed, gpu=gpu,
        workers=settings.cluster.training,
    )  # fmt: skip


async def _measure(job: TrainingJob[RewardTrainingSection], pairs: Sequence[RewardPair]) -> HeldOutPairs | None:
    """Score the held-out pairs with the trained model; None without any."""
    if not pairs:
        return None
    return tally(pairs, await score_pairs(job.out, pairs, job), pairs_sha(pairs))


def _write_judge(trained: Path, out: str, prompt: str, template: PromptTemplate) -> None:
    by_path = "/" in prompt or prompt.endswith(".md")
    judge = {
        "kind": "reward-model",
        "model": str(Path(out).resolve()),
        "prompt": str(template.path.resolve()) if by_path else prompt,
    }
    (trained / "judge.yaml").write_text(dump_yaml(judge), encoding="utf-8")


def _write_labels(trained: Path, labels: Sequence[Label], questions: frozenset[str]) -> None:
    """Write the labels of the held-out questions, ties too, for `rlaif judge report`."""
    if kept := [label for label in labels if shown_question(label.as_question) in questions]:
        (trained / "heldout.jsonl").write_bytes(labels_jsonl(kept))
