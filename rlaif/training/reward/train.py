"""The reward-model training that each worker runs, on TRL's `RewardTrainer`.

The loss is the negative log-likelihood of the model of Bradley and Terry (1952, Biometrika 39): the probability that an
answer is preferred is the logistic function of the difference of the two rewards (Ouyang et al. 2022, arXiv:2203.02155,
equation 1). So the difference of two scores is log-odds, as the reward-model judge reads it.

Invariant: the saved model is a whole classifier with one output, with the adapter merged, that transformers loads
without a warning.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.models.dtype import weights_dtype
from rlaif.models.resolve import resolve_model
from rlaif.store.shards import read_table
from rlaif.training.job import TrainingJob, TrainingResult, Worker
from rlaif.training.reward.settings import RewardTrainingSection


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardResult(TrainingResult):
    """See `TrainingResult`; `tokens` are those of one pass.

    Attributes:
        model_id: sha256 of the trained weights.
    """

    model_id: str


def train_reward_model(job: TrainingJob[RewardTrainingSection], worker: Worker) -> RewardResult:
    """Train and save a reward model; every worker calls, the first writes."""
    from datasets import Dataset
    from transformers import AutoTokenizer, set_seed
    from trl import RewardTrainer

    from rlaif.training.models import load_classifier, lora_config, save_model
    from rlaif.training.step_log import step_callback, step_entries
    from rlaif.training.trainer import fit

    lora = job.settings.lora
    set_seed(job.seed)
    base = resolve_model(job.start.base, job.start.revision)
    tokenizer = AutoTokenizer.from_pretrained(base)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    rows = read_table(job.rows, columns=["chosen_ids", "rejected_ids"]).to_pylist()
    dtype = weights_dtype(job.start.dtype, job.gpu) if lora else "float32"
    with tempfile.TemporaryDirectory() as scratch:
        trainer = RewardTrainer(
            load_classifier(base, dtype, tokenizer),
            args=_arguments(job, len(rows), worker.count, scratch),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=lora_config(lora, "SEQ_CLS") if lora else None,
            callbacks=[step_callback(worker)],
        )
        seconds = fit(trainer)
        trained = Path(scratch) / "trained"
        trainer.save_model(str(trained))
        files: dict[str, str] = {}
        model_id = ""
        if worker.rank == 0:
            whole = _merged(trained, base, dtype, tokenizer) if lora else trained
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


def _merged(adapter: Path, base: str, dtype: str, tokenizer: Any) -> Path:
    """Merge a trained adapter into its base in float32, and return the folder of the result, rounded to a dtype."""
    import torch
    from peft import PeftModel

    from rlaif.training.models import load_classifier

    model = PeftModel.from_pretrained(load_classifier(base, "float32", tokenizer), str(adapter)).merge_and_unload()
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
        center_rewards_coefficient=settings.center or None,
    )
