"""What comes before and after every training of a reward model: its job and its rows, and the record of its pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from rlaif.chat import Messages
from rlaif.errors import UserError
from rlaif.evaluation.heldout_pairs import score_chats
from rlaif.judges.reward_scores import Reward
from rlaif.models.resolve import resolve_model, weights_id
from rlaif.preferences.reward_pairs import RewardPair
from rlaif.recipe import TrainersSection
from rlaif.recipe.reward import RewardTrainingSection
from rlaif.store.records.file_training_record import TrainedPairs
from rlaif.store.shards import write_table
from rlaif.training.job import StartingWeights, TrainingJob
from rlaif.training.reward.pairs import EncodedPairs, encode_pairs
from rlaif.training.standalone import sha256_of
from rlaif.training.worker import run_once


@dataclass(frozen=True, slots=True)
class RewardBase:
    """The model that a reward model is trained from: a language model or a reward model, as `resolve_model` takes it.

    Attributes:
        dtype: of a frozen base, as in a recipe.
    """

    model: str
    revision: str | None = None
    dtype: str = "auto"


def prepare_training(
    base: RewardBase,
    pairs: Sequence[RewardPair],
    settings: RewardTrainingSection,
    *,
    rows: str,
    out: str,
    seed: int,
    gpu: bool,
    workers: TrainersSection,
) -> tuple[TrainingJob[RewardTrainingSection], EncodedPairs]:
    """Write the encoded pairs to `rows`, and return the training on them, which writes the model to `out`.

    Raises:
        UserError: the base is neither a language model nor a reward model, or no pair fits into it.
    """
    import pyarrow as pa
    from transformers import AutoConfig, AutoTokenizer

    model = base.model
    folder = resolve_model(model, base.revision)
    config = AutoConfig.from_pretrained(folder)
    classifier = any(name.endswith("ForSequenceClassification") for name in config.architectures or [])
    if classifier and config.num_labels != 1:
        raise UserError(f"{model}: a classifier with {config.num_labels} outputs; expected one, or a language model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.chat_template:
        raise UserError(f"{model}: its tokenizer has no chat template; expected one that renders a conversation")
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    limits = [settings.max_length, tokenizer.model_max_length, context]
    longest = min(int(limit) for limit in limits if limit)
    encoded = encode_pairs(pairs, tokenizer, longest)
    if not encoded.rows:
        raise UserError(f"none of {len(pairs)} pairs fits into {longest} tokens; expected at least one to train on")
    write_table(rows, pa.Table.from_pylist(encoded.rows))
    job = TrainingJob(
        start=StartingWeights(model, base.revision, base.dtype, id=weights_id(folder)),
        rows=rows,
        out=out,
        settings=settings,
        seed=seed,
        gpu=gpu,
        workers=workers,
    )
    return job, encoded


async def score_pairs(model: str, pairs: Sequence[RewardPair], job: TrainingJob[RewardTrainingSection]) -> list[Reward]:
    """Return a trained model's rewards of each pair's chosen and then its rejected answer; see `score_with`."""
    return await score_with(model, [chat for pair in pairs for chat in pair.conversations()], job)


async def score_with(model: str, chats: Sequence[Messages], job: TrainingJob[RewardTrainingSection]) -> list[Reward]:
    """Return a trained model's rewards of conversations, in order, from a Ray task.

    Args:
        model: local folder.
        job: the training that made it.
    """
    batch_size, threads = 2 * job.settings.pairs_per_pass, job.workers.threads
    score = partial(score_chats, model, chats, job.gpu, batch_size=batch_size, threads=threads)
    return await run_once(score, gpu=job.gpu)


def pairs_sha(pairs: Sequence[RewardPair]) -> str:
    """Return the sha256 of the ids and conversations of pairs, in their order."""
    return sha256_of([pair.id, *pair.conversations()] for pair in pairs)


def trained_pairs(pairs: Sequence[RewardPair], encoded: EncodedPairs) -> TrainedPairs:
    """Return the record of the pairs that a training learned from."""
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
