"""TRL's `RewardTrainer` on rows of token ids: loading, training, saving, in one process of one or several.

The loss is the negative log-likelihood of the model of Bradley and Terry (1952, Biometrika 39): the probability that an
answer is preferred is the logistic function of the difference of the two rewards (Ouyang et al. 2022, arXiv:2203.02155,
equation 1). So the difference of two scores is log-odds, as the reward-model judge takes it.

Invariant: what is saved is a whole classifier with one output, merged where an adapter was trained, that transformers
loads without a warning.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlaif.io.files import put_folder
from rlaif.models.dtype import weights_dtype
from rlaif.models.resolve import file_sha256, resolve_model, weights_id
from rlaif.store.shards import read_table
from rlaif.training.reward.job import RewardJob, RewardResult

# Left by the trainer in a saved model's folder; pickled, and of no use to whoever loads the weights.
_LEFT_OUT = ("training_args.bin", "README.md")
_LOGGED = {
    "step": "step", "loss": "loss", "margin": "margin", "accuracy": "accuracy", "grad_norm": "grad_norm",
    "lr": "learning_rate",
}  # fmt: skip


def train_reward_model(
    job: RewardJob, workers: int = 1, rank: int = 0, told: Callable[[dict[str, float]], None] | None = None
) -> RewardResult:
    """Train and save a reward model; every worker calls, the first writes.

    Args:
        job: the training.
        workers, rank: of this process; with several, torch's process group is there already.
        told: called with each step's log entry, and the number of all `steps` in it.

    Returns:
        What came of it; without files on the other workers.
    """
    from datasets import Dataset
    from transformers import AutoTokenizer, PrinterCallback, set_seed
    from trl import RewardTrainer

    settings = job.settings
    set_seed(settings.seed)
    base = resolve_model(job.model, settings.revision)
    tokenizer = AutoTokenizer.from_pretrained(base)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    rows = read_table(job.rows, columns=["chosen_ids", "rejected_ids"]).to_pylist()
    model = load_classifier(base, "float32" if settings.training.lora is None else _frozen_dtype(job), tokenizer)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = RewardTrainer(
            model,
            args=_arguments(job, len(rows), workers, scratch),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=_adapter(job),
            callbacks=[_reporter(told if rank == 0 else None)],
        )
        trainer.remove_callback(PrinterCallback)  # `told` has the log.
        started = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - started
        trained = Path(scratch) / "trained"
        trainer.save_model(str(trained))
        files: dict[str, str] = {}
        model_id = ""
        if rank == 0:
            whole = trained if settings.training.lora is None else _merged(job, base, tokenizer, trained)
            tokenizer.save_pretrained(whole)
            for name in _LEFT_OUT:
                (whole / name).unlink(missing_ok=True)
            put_folder(str(whole), job.out)
            files = {path.name: file_sha256(str(path)) for path in sorted(whole.iterdir()) if path.is_file()}
            model_id = weights_id(str(whole))
    return RewardResult(
        model_id=model_id,
        files=files,
        steps=int(trainer.state.global_step),
        pairs=len(rows),
        tokens=sum(len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in rows),
        seconds=seconds,
        log=[log_entry(entry) for entry in trainer.state.log_history if "loss" in entry],
    )


def load_classifier(folder: str, dtype: str, tokenizer: Any) -> Any:
    """Return a sequence classifier with one output; that of a language model is new, drawn by torch's seed.

    Args:
        folder: of a language model, or of a reward model to go on with.
        dtype: of its weights, as torch names it.
        tokenizer: whose padding the classifier is told of: it reads its score at the last token that is none.
    """
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    # That the output of a language model's classifier is new, and its head left out, is what is wanted here.
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=getattr(torch, dtype), num_labels=1)
    finally:
        logging.set_verbosity(before)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model


def log_entry(entry: dict[str, Any]) -> dict[str, float]:
    """Return what is kept of a step's log."""
    return {name: float(entry[key]) for name, key in _LOGGED.items() if key in entry}


def _frozen_dtype(job: RewardJob) -> str:
    return weights_dtype(job.settings.dtype, job.gpu)


def _adapter(job: RewardJob) -> Any:
    lora = job.settings.training.lora
    if lora is None:
        return None
    from peft import LoraConfig

    # Of a sequence classifier peft trains and saves the output itself beside the adapter.
    return LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.targets, task_type="SEQ_CLS"
    )


def _merged(job: RewardJob, base: str, tokenizer: Any, adapter: Path) -> Path:
    """Return the folder of the base with a trained adapter merged into it, in float32 before it is rounded."""
    import torch
    from peft import PeftModel

    model = PeftModel.from_pretrained(load_classifier(base, "float32", tokenizer), str(adapter)).merge_and_unload()
    place = adapter.with_name("merged")
    model.to(getattr(torch, _frozen_dtype(job))).save_pretrained(place)
    return place


def _arguments(job: RewardJob, pairs: int, workers: int, folder: str) -> Any:
    from trl import RewardConfig

    training = job.settings.training
    sharded = {"fsdp": True, "fsdp_config": {"version": 2, "auto_wrap_policy": "TRANSFORMER_BASED_WRAP"}}
    steps = training.epochs * -(-pairs // training.pairs_per_step)
    return RewardConfig(
        output_dir=folder,
        seed=job.settings.seed,
        learning_rate=training.learning_rate,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(training.schedule, training.schedule),
        # In whole steps, rounded down: a training of a few steps has none to spend at a rate of zero.
        warmup_steps=int(training.warmup * steps),
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.pairs_per_pass,
        gradient_accumulation_steps=training.pairs_per_step // (training.pairs_per_pass * workers),
        max_length=None,  # The rows fit already.
        center_rewards_coefficient=training.center or None,
        max_grad_norm=training.max_grad_norm,
        weight_decay=training.weight_decay,
        gradient_checkpointing=training.gradient_checkpointing,
        bf16=job.gpu and job.settings.dtype in ("auto", "bfloat16"),
        use_cpu=not job.gpu,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=job.gpu,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **(sharded if job.settings.cluster.training.strategy == "fsdp" else {}),
    )


def _reporter(told: Callable[[dict[str, float]], None] | None) -> Any:
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):  # type: ignore[misc]
        """Tells of each step."""

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
            if told is not None and logs and "loss" in logs:
                told({**log_entry({**logs, "step": state.global_step}), "steps": state.max_steps})

    return Reporter()
