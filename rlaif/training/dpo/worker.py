"""The training loop that Ray Train runs in each worker.

Invariant: the policy's folder is complete before its hashes are reported, and what is saved is what the probe was
computed with.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from rlaif.errors import RlaifError, is_disk_full
from rlaif.training.dpo.job import TrainingJob, TrainingResult
from rlaif.training.packing import Plan

_PROBE_TOKENS = 256


def train_loop(config: dict[str, Any]) -> None:
    """Train one round's policy; `config` holds a `TrainingJob` under "job" and the driver's mailbox under "mailbox".

    An error that a person can act on is left as a value, since to Ray every exception is a reason to try again.
    """
    import ray
    import ray.train

    job, mailbox = config["job"], config["mailbox"]
    if ray.train.get_context().get_world_rank() == 0:
        ray.get(mailbox.begin.remote())
    try:
        result = _train(job, mailbox)
    except RlaifError as error:
        ray.get(mailbox.finish.remote({"failure": str(error)}))
        return
    except OSError as error:
        if not is_disk_full(error):
            raise
        ray.get(mailbox.finish.remote({"disk_full": error.filename}))
        return
    if ray.train.get_context().get_world_rank() == 0:
        ray.get(mailbox.finish.remote({"result": result.to_json()}))


def _train(job: TrainingJob, mailbox: Any) -> TrainingResult:
    import ray.train
    import torch
    from transformers import AutoTokenizer, set_seed

    from rlaif.models.resolve import resolve_model
    from rlaif.training.checkpoints import Checkpoints
    from rlaif.training.dpo.pair_weights import pair_weight
    from rlaif.training.dpo.reference import settle_reference
    from rlaif.training.dpo.trainer import GroupDPOTrainer
    from rlaif.training.groups import group_pairs
    from rlaif.training.models import check_lengths, load_policy, save_policy
    from rlaif.training.packing import plan_training

    context = ray.train.get_context()
    workers, rank = context.get_world_size(), context.get_world_rank()
    if not job.gpu:
        cores = len(os.sched_getaffinity(0))
        torch.set_num_threads(job.threads or max(1, cores // context.get_local_world_size()))
    set_seed(job.seed)
    base = resolve_model(job.base, job.revision)
    groups = group_pairs(_rows(job.pairs), pair_weight(job.training))
    model = load_policy(job, base)
    check_lengths(groups, model)
    reference = settle_reference(groups, model, base, job)
    groups = reference.groups
    plan = plan_training(
        groups,
        epochs=job.training.epochs,
        groups_per_step=job.training.questions_per_step,
        max_tokens=job.training.max_tokens_per_pack,
        workers=workers,
        seed=job.seed,
    )
    tokenizer = AutoTokenizer.from_pretrained(base)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoints = Checkpoints(job.checkpoints, scratch, rank)
        trainer = GroupDPOTrainer(
            model,
            args=_arguments(job, plan, checkpoints.folder),
            processing_class=tokenizer,
            groups=groups,
            plan=plan,
            loss=job.training.loss,
            label_smoothing=job.training.label_smoothing,
            nll=job.training.sft_weight,
            callbacks=[_reporter(mailbox if rank == 0 else None), *checkpoints.callbacks()],
        )
        started = time.monotonic()
        trainer.train(resume_from_checkpoint=checkpoints.last())
        seconds = time.monotonic() - started
        probe = _probe(trainer, [*groups[0].prompt_token_ids, *groups[0].candidates[groups[0].pairs[0].chosen]])
        files, policy_id = save_policy(trainer, tokenizer, job.out, Path(scratch) / "policy", rank)
    log = [_log_entry(entry) for entry in trainer.state.log_history if "loss" in entry]
    return TrainingResult(
        policy_id=policy_id,
        files=files,
        probe=probe,
        steps=plan.steps,
        pairs=sum(len(group.pairs) for group in groups),
        groups=len(groups),
        tokens=sum(groups[index].tokens for pack in plan.packs for index in pack.groups),
        seconds=seconds,
        loss=log[-1]["loss"] if log else 0.0,
        reference=reference.origin,
        drift=reference.drift.mean if reference.drift else None,
        drift_p99=reference.drift.p99 if reference.drift else None,
        log=log,
    )


def _rows(place: str) -> list[dict[str, Any]]:
    from rlaif.store.shards import read_table
    from rlaif.training.dpo.pair_weights import COLUMNS

    names = [
        "pair_id",
        "prompt_token_ids",
        "chosen_token_ids",
        "rejected_token_ids",
        "ref_chosen_logp",
        "ref_rejected_logp",
        "policy",
    ]
    rows: list[dict[str, Any]] = read_table(place, columns=[*names, *COLUMNS]).to_pylist()
    return rows


def _arguments(job: TrainingJob, plan: Plan, folder: str) -> Any:
    from trl import DPOConfig

    training = job.training
    sharded = {"fsdp": True, "fsdp_config": {"version": 2, "auto_wrap_policy": "TRANSFORMER_BASED_WRAP"}}
    return DPOConfig(
        output_dir=folder,
        seed=job.seed,
        beta=training.beta,
        learning_rate=training.learning_rate,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(training.schedule, training.schedule),
        # In whole steps, rounded down: a training of a few steps has none to spend at a rate of zero.
        warmup_steps=int(training.warmup * plan.steps),
        num_train_epochs=1,  # The plan holds all epochs.
        per_device_train_batch_size=1,  # A row is a pack.
        gradient_accumulation_steps=plan.turns,
        max_grad_norm=training.max_grad_norm,
        weight_decay=training.weight_decay,
        gradient_checkpointing=training.gradient_checkpointing,
        precompute_ref_log_probs=True,  # The pairs bring their reference with them.
        bf16=job.gpu and job.dtype in ("auto", "bfloat16"),
        use_cpu=not job.gpu,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=job.gpu,
        remove_unused_columns=False,
        logging_steps=1,
        save_strategy="steps" if job.checkpoints else "no",
        save_steps=training.checkpoint_steps or 500,
        save_total_limit=2,
        report_to=[],
        disable_tqdm=True,
        **(sharded if job.strategy == "fsdp" else {}),
    )


def _reporter(mailbox: Any) -> Any:
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):  # type: ignore[misc]
        """Tells the driver of each step; the terminal's progress and nothing else depends on it."""

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
            if mailbox is not None and logs and "loss" in logs:
                mailbox.put.remote({**_log_entry({**logs, "step": state.global_step}), "steps": state.max_steps})

    return Reporter()


def _log_entry(entry: dict[str, Any]) -> dict[str, float]:
    wanted = {
        "step": "step", "loss": "loss", "margin": "rewards/margins", "accuracy": "rewards/accuracies",
        "grad_norm": "grad_norm", "lr": "learning_rate",
    }  # fmt: skip
    return {name: float(entry[key]) for name, key in wanted.items() if key in entry}


def _probe(trainer: Any, tokens: list[int]) -> Any:
    """Return what the trained policy says of a sequence that the training has moved."""
    import torch

    from rlaif.store.policy_weights import Probe

    tokens = tokens[-_PROBE_TOKENS:]
    ids = torch.tensor([tokens], device=trainer.args.device)
    model = trainer.model_wrapped
    model.eval()
    with torch.no_grad(), trainer.compute_loss_context_manager():
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
    logps = logits.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    return Probe(tokens, [float(value) for value in logps])
