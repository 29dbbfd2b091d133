"""Preference training against TRL's `DPOTrainer`, on the same pairs, in one run.

    python benchmarks/training.py --prompt 300 --answer 30 --candidates 4
    python benchmarks/training.py --pairs runs/demo/round-000/pairs.parquet --lora 16

Each measurement is a process of its own: load the model and train two optimizer steps, each over all pairs. The first
warms up; the second is timed, as one of many in a training. The two trainers alternate, so that whatever else the
machine does falls on both. TRL is given its fastest correct configuration here, found in the run: no gradient
checkpointing, no padding to a fixed length, and the number of pairs a forward pass that is fastest of those tried; ours
against the memory of the others is printed too. Its time includes its reference pass. Ours trains against the
log-probabilities that came with the samples; what computing them too would take is printed beside it. The loss is that
of the second step, so that the trainers agree on it only if the first one moved their weights alike.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

# The vocabulary's first ids are special tokens.
_FIRST_TOKEN, _LAST_TOKEN = 100, 40_000
# Two steps over the same pairs: the first warms up, the second is measured, as any later step of a training would be.
_STEPS = 2
_RATE = 1e-5
# A step of far fewer is measured with what a step costs beside its pairs. Whole batches of 1, 2, 3, 4 and 6: TRL weighs
# the pairs of a last, smaller one more.
_PAIRS = 12
# As a run's workers have it: freed memory stays with the process.
_ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True, slots=True)
class Work:
    """What one measurement trains on, and how.

    Attributes:
        trainer: `ours` or `trl`.
        model: a hub id, a folder or `builtin:...`.
        file: a `pairs.parquet`, or None for made data.
        prompt, answer, candidates: tokens of a prompt, tokens of an answer, candidates of a prompt.
        pairs: pairs of a prompt; None is every two candidates.
        groups: prompts.
        rank: of a LoRA adapter; 0 trains all weights.
        batch: pairs of a forward pass, for TRL.
        pack: token budget of a forward pass, for ours.
        gpu: whether on CUDA: bfloat16 passes, and a frozen base in bfloat16.
    """

    trainer: str
    model: str
    file: str | None
    prompt: int
    answer: int
    candidates: int
    pairs: int | None
    groups: int
    rank: int
    batch: int
    pack: int
    gpu: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """What one measurement came to.

    Attributes:
        seconds: of the second step; for TRL with its reference pass.
        reference_seconds: what a reference pass takes ours; 0 for TRL.
        pairs: trained on.
        tokens: that go through the model in a step, forward and backward, padding left out.
        reference_tokens: that go through the reference.
        peak_gib: largest resident memory of the process; on CUDA the most that tensors took of the device.
        loss: of the second step.
    """

    seconds: float
    reference_seconds: float
    pairs: int
    tokens: int
    reference_tokens: int
    peak_gib: float
    loss: float


def made_groups(work: Work) -> list[Any]:
    """Return random prompts and answers of the wanted shape."""
    from rlaif.training.groups import Group, Pair

    draw = random.Random(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(_FIRST_TOKEN, _LAST_TOKEN) for _ in range(count))

    groups = []
    for number in range(work.groups):
        every = list(combinations(range(work.candidates), 2))[: work.pairs]
        pairs = tuple(Pair(f"{number}-{a}-{b}", a, b, float("nan"), float("nan")) for a, b in every)
        groups.append(Group(tokens(work.prompt), tuple(tokens(work.answer) for _ in range(work.candidates)), pairs))
    return groups


def all_groups(work: Work) -> list[Any]:
    """Return what is trained on: made, or the first groups of a file."""
    if work.file is None:
        return made_groups(work)
    import pyarrow.parquet as pq

    from rlaif.training.groups import group_pairs

    return group_pairs(pq.read_table(work.file).to_pylist())[: work.groups]


def load(work: Work) -> tuple[Any, Any]:
    """Return the model, as ours or as TRL's users load it, and its tokenizer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rlaif.models.resolve import resolve_model
    from rlaif.training.models import load_model

    folder = resolve_model(work.model)
    dtype = "bfloat16" if work.gpu and work.rank else "float32"
    model = (
        load_model(folder, dtype, work.gpu)
        if work.trainer == "ours"
        else AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    )
    if work.rank:
        torch.manual_seed(0)
        model = get_peft_model(model, LoraConfig(r=work.rank, target_modules="all-linear", task_type="CAUSAL_LM"))
    return model, AutoTokenizer.from_pretrained(folder)


def arguments(folder: str, batch: int, turns: int, gpu: bool) -> Any:
    """Return the settings that both trainers share: two steps, each over all pairs."""
    from trl import DPOConfig

    return DPOConfig(
        output_dir=folder, use_cpu=not gpu, bf16=gpu, gradient_checkpointing=False, max_length=None, report_to=[],
        disable_tqdm=True, save_strategy="no", num_train_epochs=_STEPS, per_device_train_batch_size=batch,
        gradient_accumulation_steps=turns, learning_rate=_RATE, lr_scheduler_type="constant", logging_steps=1, seed=0,
        precompute_ref_log_probs=False, dataloader_pin_memory=False,
    )  # fmt: skip


def time_last_step(trainer: Any) -> tuple[float, float]:
    """Train, and return the seconds and the loss of the last step."""
    from transformers import TrainerCallback

    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    trainer.add_callback(Clock())
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if len(ends) != _STEPS or len(losses) != _STEPS:
        raise SystemExit(f"expected {_STEPS} steps, saw {len(ends)}")
    return ends[-1] - ends[-2], losses[-1]


def measure_ours(work: Work) -> Measured:
    """Train with `GroupDPOTrainer`."""
    from rlaif.training.groups import with_reference
    from rlaif.training.packing import plan_training
    from rlaif.training.reference import score_groups
    from rlaif.training.trainer import GroupDPOTrainer

    model, tokenizer = load(work)
    groups = all_groups(work)
    # On CUDA the first pass of a length compiles for it.
    score_groups(model, groups if work.gpu else groups[:1], work.pack, work.gpu)
    started = time.perf_counter()
    scores = score_groups(model, groups, work.pack, work.gpu)
    reference_seconds = time.perf_counter() - started
    groups = [with_reference(group, logps) for group, logps in zip(groups, scores, strict=True)]
    plan = plan_training(groups, epochs=_STEPS, groups_per_step=len(groups), max_tokens=work.pack, workers=1, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        args = arguments(folder, 1, plan.turns, work.gpu)
        # The plan holds both steps.
        args.num_train_epochs, args.precompute_ref_log_probs, args.remove_unused_columns = 1, True, False
        seconds, loss = time_last_step(
            GroupDPOTrainer(model, args=args, processing_class=tokenizer, groups=groups, plan=plan, loss="sigmoid")
        )
    tokens = sum(group.tokens for group in groups)
    pairs = sum(len(group.pairs) for group in groups)
    return Measured(seconds, reference_seconds, pairs, tokens, 0, peak_gib(work.gpu), loss)


def measure_trl(work: Work) -> Measured:
    """Train with TRL's trainer as it is, on rows that are encoded already."""
    from datasets import Dataset
    from trl import DPOTrainer

    class TokenDPOTrainer(DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
            return dataset

    model, tokenizer = load(work)
    rows = [
        {
            "prompt_ids": list(group.prompt_token_ids),
            "chosen_ids": list(group.candidates[pair.chosen]),
            "rejected_ids": list(group.candidates[pair.rejected]),
        }
        for group in all_groups(work)
        for pair in group.pairs
    ]
    with tempfile.TemporaryDirectory() as folder:
        args = arguments(folder, work.batch, -(-len(rows) // work.batch), work.gpu)
        seconds, loss = time_last_step(
            TokenDPOTrainer(model, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
        )
    # Counted without padding, which is in TRL's favour where lengths differ.
    tokens = sum(2 * len(r["prompt_ids"]) + len(r["chosen_ids"]) + len(r["rejected_ids"]) for r in rows)
    return Measured(seconds, 0.0, len(rows), tokens, tokens, peak_gib(work.gpu), loss)


def peak_gib(gpu: bool) -> float:
    """Return the largest resident memory that this process had, or its largest share of the GPU."""
    if gpu:
        import torch

        return torch.cuda.max_memory_allocated() / 1024**3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def in_process(work: Work) -> Measured:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--work", json.dumps(asdict(work))]
    done = subprocess.run(command, env={**os.environ, **_ENVIRONMENT}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{work.trainer}: {done.stderr[-3000:]}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def line(name: str, runs: list[Measured]) -> str:
    """Return a table's line of the medians."""
    middle = sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]
    speed = statistics.median(run.pairs / run.seconds for run in runs)
    computed = f"{middle.tokens:,} forward and backward, {middle.reference_tokens:,} forward"
    return (
        f"{name:<14} {speed:8.3f} pairs/s  {middle.peak_gib:5.2f} GiB peak  loss {middle.loss:.4f}  tokens: {computed}"
    )


def main() -> None:
    """Run the comparison, or one measurement of it."""
    parser = argparse.ArgumentParser(description="Preference training against TRL's DPOTrainer.")
    parser.add_argument("--model", default="builtin:smollm2-135m")
    parser.add_argument("--pairs", dest="file", help="a pairs.parquet in place of made data")
    parser.add_argument("--prompt", type=int, default=300, help="tokens of a prompt")
    parser.add_argument("--answer", type=int, default=30, help="tokens of an answer")
    parser.add_argument("--candidates", type=int, default=4, help="candidates of a prompt")
    parser.add_argument("--pairs-per-prompt", type=int, help="all of them if left out")
    parser.add_argument(
        "--groups", type=int, help=f"prompts; if left out, as many as have {_PAIRS} pairs, or six of a file"
    )
    parser.add_argument("--lora", type=int, default=0, metavar="RANK", help="train an adapter; 0 trains all weights")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4], help="pairs a forward pass to try for TRL")
    parser.add_argument("--pack", type=int, default=512, help="tokens a forward pass of ours")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write all measurements there")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work = Work(**json.loads(options.work))
        print(json.dumps(asdict(measure_ours(work) if work.trainer == "ours" else measure_trl(work))))
        return

    pairs_of_one = options.pairs_per_prompt or comb(options.candidates, 2)
    groups = options.groups or (6 if options.file else -(-_PAIRS // pairs_of_one))

    def work(trainer: str, batch: int) -> Work:
        return Work(
            trainer, options.model, options.file, options.prompt, options.answer, options.candidates,
            options.pairs_per_prompt, groups, options.lora, batch, options.pack,
        )  # fmt: skip

    tried: dict[int, Measured] = {}
    for batch in options.batches:
        run = tried[batch] = in_process(work("trl", batch))
        speed, memory = run.pairs / run.seconds, run.peak_gib
        print(f"TRL with {batch} pairs a forward pass: {speed:.3f} pairs/s, {memory:.2f} GiB", flush=True)
        if left := run.pairs % batch:
            print(
                f"  its loss is no mean over the pairs: {left} in the last pass weigh as much as {batch} in the others"
            )
    best = min(tried, key=lambda batch: tried[batch].seconds)
    ours: list[Measured] = []
    theirs: list[Measured] = [tried[best]]
    for _ in range(options.repeats):
        ours.append(in_process(work("ours", 0)))
        if len(theirs) < options.repeats:
            theirs.append(in_process(work("trl", best)))
    kind = f"LoRA of rank {options.lora}" if options.lora else "all weights"
    shape = options.file or f"{options.prompt}/{options.answer} tokens, {options.candidates} candidates"
    print(f"{options.model}, float32, {kind}; {shape}, {groups} prompts, {ours[0].pairs} pairs a step")
    print(line(f"TRL, batch {best}", theirs))
    print(line("rlaif", ours))
    speeds = [statistics.median(run.pairs / run.seconds for run in runs) for runs in (ours, theirs)]
    both = statistics.median(run.pairs / (run.seconds + run.reference_seconds) for run in ours)
    peaks = [statistics.median(run.peak_gib for run in runs) for runs in (ours, theirs)]
    print(f"pairs a second: {speeds[0] / speeds[1]:.1f}x ({both / speeds[1]:.1f}x with a reference pass of ours)")
    print(f"peak memory: {peaks[0] / peaks[1]:.2f}x")
    for batch, run in tried.items():
        if batch != best:
            print(f"peak memory, TRL with {batch} pairs a forward pass: {peaks[0] / run.peak_gib:.2f}x")
    if options.json:
        options.json.write_text(
            json.dumps({"ours": [asdict(run) for run in ours], "trl": [asdict(run) for run in theirs]}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
