"""The reward-model training that each worker runs, on TRL's `RewardTrainer`, and its settings.

The loss is the negative log-likelihood of the model of Bradley and Terry (1952, Biometrika 39): the probability that an
answer is preferred is the logistic function of the difference of the two rewards (Ouyang et al. 2022, arXiv:2203.02155,
equation 1). So the difference of two scores is log-odds, as the reward-model judge reads it.

Invariant: the saved model is a whole classifier with one output, with the adapter merged, that transformers loads
without a warning. Training and saved model read a conversation's reward at its last token, whatever pads a batch.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from rlaif.models.dtype import weights_dtype
from rlaif.models.padding import named_padding, padding_of, set_padding
from rlaif.models.resolve import resolve_model
from rlaif.recipe import TrainersSection
from rlaif.recipe.base import Section
from rlaif.recipe.reward import RewardTrainingSection
from rlaif.store.shards import read_table
from rlaif.training.job import TrainingJob, TrainingResult, Worker


class RewardClusterSection(Section):
    """Placement of the training."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """`auto` takes GPUs where the Ray cluster has them."""
    training: TrainersSection = TrainersSection()
    """Workers that train."""


class RewardSettings(Section):
    """The settings of `rlaif train-reward --set`."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the held-out questions, of the order, and of the new output's initial weights."""
    revision: str | None = None
    """Branch, tag or commit of a hub model; null is its default branch."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of a frozen base's weights; full weights train in float32."""
    training: RewardTrainingSection = RewardTrainingSection()
    cluster: RewardClusterSection = RewardClusterSection()

    @model_validator(mode="after")
    def _settings_work_together(self) -> "RewardSettings":
        self.training.check_step(self.cluster.training.workers)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardResult(TrainingResult):
    """See `TrainingResult`; `tokens` are those of one pass, and `model_id` is the sha256 of the trained weights."""

    model_id: str
    pairs: int


def train_reward_model(job: TrainingJob[RewardTrainingSection], worker: Worker) -> RewardResult:
    """Train and save a reward model; every worker calls, the first writes."""
    from datasets import Dataset
    from transformers import AutoTokenizer, set_seed

    from rlaif.training.models import save_model
    from rlaif.training.reward.trainer import ShardedRewardTrainer
    from rlaif.training.trainer import StepLog, fit, step_entries

    lora = job.settings.lora
    set_seed(job.seed)
    base = resolve_model(job.start.base, job.start.revision)
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = read_table(job.rows, columns=["chosen_ids", "rejected_ids"]).to_pylist()
    dtype = weights_dtype(job.start.dtype, job.gpu) if lora else "float32"
    model = _load(job, base, dtype)
    last = {row[side][-1] for row in rows for side in ("chosen_ids", "rejected_ids")}
    vocabulary = model.get_input_embeddings().num_embeddings
    padded = AutoTokenizer.from_pretrained(base)
    padded.pad_token = padded.convert_ids_to_tokens(padding_of(tokenizer, last, vocabulary))
    # What reads the saved model pads by its tokenizer; without a token for it, it takes one conversation at a time.
    padding = named_padding(tokenizer, last, vocabulary)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = ShardedRewardTrainer(
            model,
            args=_arguments(job, len(rows), worker.count, scratch),
            train_dataset=Dataset.from_list(rows),
            processing_class=padded,
            callbacks=[StepLog(worker)],
        )
        seconds = fit(trainer)
        set_padding(model, padding)
        tokenizer.pad_token = None if padding is None else tokenizer.convert_ids_to_tokens(padding)
        trained = Path(scratch) / "trained"
        trainer.save_model(str(trained))
        files: dict[str, str] = {}
        model_id = ""
        if worker.rank == 0:
            whole = _merged(trained, base, dtype, padding) if lora else trained
            files, model_id = save_model(whole, tokenizer, job.out)
    return RewardResult(
        model_id=model_id,
        files=files,
        steps=int(trainer.state.global_step),
        pairs=len(rows),
        tokens=sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in rows),
        seconds=seconds,
        log=step_entries(trainer),
    )


def _load(job: TrainingJob[RewardTrainingSection], base: str, dtype: str) -> Any:
    from peft import get_peft_model
    from transformers import set_seed

    from rlaif.training.models import load_classifier, lora_config, shard_over_workers

    model = load_classifier(base, dtype, sharded=job.sharded)
    if lora := job.settings.lora:
        set_seed(job.seed)  # A new adapter does not depend on whether an output was drawn.
        model = get_peft_model(model, lora_config(lora, "SEQ_CLS"))
        _train_output_in_float32(model)
    return shard_over_workers(model, job.start.dtype, job.gpu) if job.sharded else model


def _train_output_in_float32(model: Any) -> None:
    """Give the trained output of a model with an adapter float32 weights; peft leaves it in the frozen base's type.

    In bfloat16 a step of the usual learning rates is less than a weight's last bit and would be lost.
    """
    from peft.utils import ModulesToSaveWrapper

    for module in model.modules():
        if isinstance(module, ModulesToSaveWrapper):
            for output in module.modules_to_save.values():
                output.float().register_forward_pre_hook(_as_weights)


def _as_weights(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return a module's inputs in the type of its weights, which passes in bfloat16 may have changed."""
    dtype = next(module.parameters()).dtype
    return tuple(value.to(dtype) if value.is_floating_point() else value for value in inputs)


def _merged(adapter: Path, base: str, dtype: str, padding: int | None) -> Path:
    """Merge a trained adapter into its base in float32, and return the folder of the result, rounded to a dtype."""
    import torch
    from peft import PeftModel

    from rlaif.training.models import load_classifier

    model = PeftModel.from_pretrained(load_classifier(base, "float32"), str(adapter)).merge_and_unload()
    set_padding(model, padding)
    folder = adapter.with_name("merged")
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    return folder


def _arguments(job: TrainingJob[RewardTrainingSection], pairs: int, workers: int, folder: str) -> Any:
    from trl import RewardConfig

    from rlaif.training.trainer import trainer_arguments

    settings = job.settings
    return trainer_arguments(
        RewardConfig,
        job,
        folder,
        steps=settings.epochs * -(-pairs // settings.pairs_per_step),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.pairs_per_pass,
        gradient_accumulation_steps=settings.pairs_per_step // (settings.pairs_per_pass * workers),
        max_length=None,  # The rows fit already.
        disable_dropout=False,  # The model's own is off already; the adapter's acts.
        center_rewards_coefficient=settings.center or None,
    )
