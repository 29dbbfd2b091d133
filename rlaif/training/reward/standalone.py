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
from rlaif.evaluation.heldout_pairs import score_chats, tally
from rlaif.io.column_names import ANY_NAMES, ColumnNames
from rlaif.io.files import read_bytes
from rlaif.io.yaml_file import dump_yaml
from rlaif.models.resolve import check_model, resolve_model, weights_id
from rlaif.preferences.reward_pairs import RewardPair, read_pairs
from rlaif.prompts.question_prompt import shown_question
from rlaif.prompts.template import PromptTemplate, load_template
from rlaif.recipe import parse_overrides
from rlaif.store.records.file_training_record import HeldOutPairs, RewardFileRecord, TemplateRecord, TrainedPairs
from rlaif.store.records.round_records import BaseModelRecord
from rlaif.store.shards import write_table
from rlaif.training.job import OnStep, StartingWeights, TrainingJob
from rlaif.training.reward.pairs import EncodedPairs, encode_pairs, held_out
from rlaif.training.reward.train import RewardSettings, RewardTrainingSection, train_reward_model
from rlaif.training.standalone import publish, sha256_of, train_from_file, work_folder
from rlaif.training.worker import run_once


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
        prepare = partial(_prepare, model, settings, train, work, gpu=gpu)
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
        train=_trained_pairs(train, encoded),
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
    model: str, settings: RewardSettings, pairs: Sequence[RewardPair], work: Path, *, gpu: bool
) -> tuple[TrainingJob[RewardTrainingSection], EncodedPairs]:
    """Write the encoded pairs into the work folder; returns the training on them."""
    import pyarrow as pa
    from transformers import AutoConfig, AutoTokenizer

    folder = resolve_model(model, settings.revision)
    config = AutoConfig.from_pretrained(folder)
    classifier = any(name.endswith("ForSequenceClassification") for name in config.architectures or [])
    if classifier and config.num_labels != 1:
        raise UserError(f"{model}: a classifier with {config.num_labels} outputs; expected one, or a language model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.chat_template:
        raise UserError(f"{model}: its tokenizer has no chat template; expected one that renders a conversation")
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    limits = [settings.training.max_length, tokenizer.model_max_length, context]
    longest = min(int(limit) for limit in limits if limit)
    encoded = encode_pairs(pairs, tokenizer, longest)
    if not encoded.rows:
        raise UserError(f"none of {len(pairs)} pairs fits into {longest} tokens; expected at least one to train on")
    shutil.rmtree(work, ignore_errors=True)
    rows = str(work / "pairs.parquet")
    write_table(rows, pa.Table.from_pylist(encoded.rows))
    job = TrainingJob(
        start=StartingWeights(model, settings.revision, settings.dtype, id=weights_id(folder)),
        rows=rows,
        out=str(work / "model"),
        settings=settings.training,
        seed=settings.seed,
        gpu=gpu,
        workers=settings.cluster.training,
    )
    return job, encoded


async def _measure(job: TrainingJob[RewardTrainingSection], pairs: Sequence[RewardPair]) -> HeldOutPairs | None:
    """Score the held-out pairs with the trained model; None without any."""
    if not pairs:
        return None
    chats = [chat for pair in pairs for chat in pair.conversations()]
    batch_size, threads = 2 * job.settings.pairs_per_pass, job.workers.threads
    score = partial(score_chats, job.out, chats, job.gpu, batch_size=batch_size, threads=threads)
    return tally(pairs, await run_once(score, gpu=job.gpu), pairs_sha(pairs))


def pairs_sha(pairs: Sequence[RewardPair]) -> str:
    """Return the sha256 of the ids and conversations of pairs, in their order."""
    return sha256_of([pair.id, *pair.conversations()] for pair in pairs)


def _trained_pairs(pairs: Sequence[RewardPair], encoded: EncodedPairs) -> TrainedPairs:
    too_long = set(encoded.too_long)
    trained = [pair for pair in pairs if pair.id not in too_long]
    return TrainedPairs(
        questions=len({pair.question for pair in trained}),
        pairs=len(trained),
        human=sum(pair.source == "human" for pair in trained),
        sha256=pairs_sha(trained),
        cut=encoded.cut,
        too_long=encoded.too_long,
    )


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
