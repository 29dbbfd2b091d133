"""What all trainers on top of TRL's share: their arguments, and a run from the last checkpoint."""

import time
from typing import Any

from rlaif.training.job import TrainingJob


def trainer_arguments(kind: type, job: TrainingJob[Any], folder: str, *, steps: int, **own: Any) -> Any:
    """Return the arguments of a TRL trainer.

    Args:
        kind: TRL's class, such as `DPOConfig`.
        job: the training.
        folder: where the trainer writes.
        steps: optimizer steps in all.
        own: arguments of the objective.
    """
    settings = job.settings
    sharded = {"fsdp": True, "fsdp_config": {"version": 2, "auto_wrap_policy": "TRANSFORMER_BASED_WRAP"}}
    return kind(
        output_dir=folder,
        seed=job.seed,
        learning_rate=settings.learning_rate,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(settings.schedule, settings.schedule),
        # In whole steps, rounded down: a training of a few steps cannot afford one at a rate of zero.
        warmup_steps=int(settings.warmup * steps),
        max_grad_norm=settings.max_grad_norm,
        weight_decay=settings.weight_decay,
        gradient_checkpointing=settings.gradient_checkpointing,
        bf16=job.gpu and job.start.dtype in ("auto", "bfloat16"),
        use_cpu=not job.gpu,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=job.gpu,
        logging_steps=1,
        save_strategy="steps" if job.checkpoints else "no",
        report_to=[],
        disable_tqdm=True,
        **(sharded if job.workers.strategy == "fsdp" else {}),
        **own,
    )


def fit(trainer: Any, checkpoint: str | None = None) -> float:
    """Train to the end, from a checkpoint where there is one, and return the seconds."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)  # The steps' log goes to the driver.
    started = time.monotonic()
    trainer.train(resume_from_checkpoint=checkpoint)
    return time.monotonic() - started
