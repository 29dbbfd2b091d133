"""Preference training against TRL's `DPOTrainer`, on the same pairs, in one run.

    python benchmarks/training.py --prompt 300 --answer 30 --candidates 4
    python benchmarks/training.py --pairs runs/demo/round-000/pairs.parquet --lora 16

Each trainer is a process of its own that takes optimizer steps over the same pairs. The first step warms up; the later
ones are timed, each as one of many in a training. The two take turns, step by step, while the other waits, so that
whatever else the machine does falls on both, and the ratio is the median of the turns'. TRL is given its fastest
correct configuration here, found before in the run, in turns too: no gradient checkpointing, no padding to a fixed
length, and the number of pairs a forward pass that is fastest of those tried; ours against the memory of the others is
printed too. Its time includes its reference pass. Ours trains against the log-probabilities that came with the samples;
what computing them too would take is printed beside it. The loss is that of the second step, so that the trainers agree
on it only if the first one moved their weights alike.
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
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

# The vocabulary's first ids are special tokens.
_FIRST_TOKEN, _LAST_TOKEN = 100, 40_000
_RATE = 1e-5
_STEP, _RESULT = "step: ", "result: "  # What begins a process's lines to whoever started it.
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
        steps: that are timed, after the one that warms up.
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
    steps: int = 1
    gpu: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """What one measurement came to.

    Attributes:
        seconds: of a timed step, the median; for TRL with its reference pass.
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


def arguments(folder: str, work: Work, batch: int, turns: int) -> Any:
    """Return the settings that both trainers share; each step goes over all pairs."""
    from trl import DPOConfig

    return DPOConfig(
        output_dir=folder, use_cpu=not work.gpu, bf16=work.gpu, gradient_checkpointing=False, max_length=None,
        report_to=[], disable_tqdm=True, save_strategy="no", num_train_epochs=1 + work.steps,
        per_device_train_batch_size=batch, gradient_accumulation_steps=turns, learning_rate=_RATE,
        lr_scheduler_type="constant", logging_steps=1, seed=0, precompute_ref_log_probs=False,
        dataloader_pin_memory=False,
    )  # fmt: skip


def time_steps(trainer: Any, steps: int) -> tuple[float, float]:
    """Train, each step when a line comes on standard input, and return a step's seconds and the second one's loss."""
    import torch
    from transformers import TrainerCallback

    seconds: list[float] = []

    def now() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # A step is over when its kernels are.
        return time.perf_counter()

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if not sys.stdin.readline():
                raise SystemExit("nobody waits for this measurement any more")
            self.started = now()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(now() - self.started)
            print(f"{_STEP}{seconds[-1]}", flush=True)

    trainer.add_callback(Clock())
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if len(seconds) != 1 + steps or len(losses) != 1 + steps:
        raise SystemExit(f"expected {1 + steps} steps, saw {len(seconds)}")
    return statistics.median(seconds[1:]), losses[1]


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
    plan = plan_training(
        groups, epochs=1 + work.steps, groups_per_step=len(groups), max_tokens=work.pack, workers=1, seed=0
    )
    with tempfile.TemporaryDirectory() as folder:
        args = arguments(folder, work, 1, plan.turns)
        # The plan holds all steps.
        args.num_train_epochs, args.precompute_ref_log_probs, args.remove_unused_columns = 1, True, False
        seconds, loss = time_steps(
            GroupDPOTrainer(model, args=args, processing_class=tokenizer, groups=groups, plan=plan, loss="sigmoid"),
            work.steps,
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
        args = arguments(folder, work, work.batch, -(-len(rows) // work.batch))
        seconds, loss = time_steps(
            TokenDPOTrainer(model, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer),
            work.steps,
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


class Contender:
    """A trainer in a process of its own that waits before each step."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # as long as the process
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--work", json.dumps(asdict(work))],
            env={**os.environ, **_ENVIRONMENT}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            text=True,
        )  # fmt: skip
        self.step()  # Which warms up.

    def step(self) -> float:
        """Take the next step and return its seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._line(_STEP))

    def result(self) -> Measured:
        """Return what it came to, after its last step."""
        found = Measured(**json.loads(self._line(_RESULT)))
        self._process.wait()
        return found

    def _line(self, begin: str) -> str:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            if text.startswith(begin):
                return text.removeprefix(begin)
        self._errors.seek(0)
        raise SystemExit(f"{self._work.trainer}: {self._errors.read()[-3000:]}")


def in_process(work: Work) -> Measured:
    """Measure by itself, in a process of its own."""
    contender = Contender(work)
    for _ in range(work.steps):
        contender.step()
    return contender.result()


def take_turns(one: Work, other: Work) -> tuple[Measured, Measured, list[float]]:
    """Measure two, step by step in turn; the third is the seconds of one over those of the other in each turn."""
    first, second = Contender(one), Contender(other)
    ratios = [first.step() / second.step() for _ in range(one.steps)]
    return first.result(), second.result(), ratios


def fastest(work: Callable[[int], Work], batches: Sequence[int]) -> tuple[int, dict[int, Measured]]:
    """Return the fastest number of pairs a forward pass, and what each came to in turns with the best so far.

    Of one alone there is nothing to find out.
    """
    best = batches[0]
    tried: dict[int, Measured] = {}
    for batch in batches[1:]:
        before, now, (ratio,) = take_turns(work(best), work(batch))
        tried |= {best: before, batch: now}
        best = batch if ratio > 1 else best
    for batch, run in tried.items():
        print(f"TRL with {batch} pairs a forward pass: {run.pairs / run.seconds:.3f} pairs/s, {run.peak_gib:.2f} GiB")
    return best, tried


def line(name: str, run: Measured) -> str:
    """Return a table's line."""
    speed, computed = run.pairs / run.seconds, f"{run.tokens:,} forward and backward, {run.reference_tokens:,} forward"
    return f"{name:<14} {speed:8.3f} pairs/s  {run.peak_gib:5.2f} GiB peak  loss {run.loss:.4f}  tokens: {computed}"


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
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 2, 4],
        help="pairs a forward pass to try for TRL, one of which is taken as it is; two are in memory at a time, which "
        "for 2 and 4 takes some 19 GiB",
    )  # fmt: skip
    parser.add_argument("--pack", type=int, default=1024, help="tokens a forward pass of ours")
    parser.add_argument("--turns", type=int, default=3, help="timed steps of each, in turn")
    parser.add_argument("--json", type=Path, help="write all measurements there")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work = Work(**json.loads(options.work))
        measured = measure_ours(work) if work.trainer == "ours" else measure_trl(work)
        print(f"{_RESULT}{json.dumps(asdict(measured))}", flush=True)
        return

    pairs_of_one = options.pairs_per_prompt or comb(options.candidates, 2)
    groups = options.groups or (6 if options.file else -(-_PAIRS // pairs_of_one))

    def work(trainer: str, batch: int, steps: int) -> Work:
        return Work(
            trainer, options.model, options.file, options.prompt, options.answer, options.candidates,
            options.pairs_per_prompt, groups, options.lora, batch, options.pack, steps,
        )  # fmt: skip

    best, tried = fastest(lambda batch: work("trl", batch, 1), options.batches)
    theirs, ours, ratios = take_turns(work("trl", best, options.turns), work("ours", 0, options.turns))
    kind = f"LoRA of rank {options.lora}" if options.lora else "all weights"
    shape = options.file or f"{options.prompt}/{options.answer} tokens, {options.candidates} candidates"
    print(f"{options.model}, float32, {kind}; {shape}, {groups} prompts, {ours.pairs} pairs a step")
    print(line(f"TRL, batch {best}", theirs))
    if left := theirs.pairs % best:
        print(f"  its loss is no mean over the pairs: {left} in the last pass weigh as much as {best} in the others")
    print(line("rlaif", ours))
    faster = statistics.median(ratios)
    with_reference = faster * ours.seconds / (ours.seconds + ours.reference_seconds)
    turns = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"pairs a second: {faster:.1f}x (turns: {turns}; {with_reference:.1f}x with a reference pass of ours)")
    print(f"peak memory: {ours.peak_gib / theirs.peak_gib:.2f}x")
    for batch, run in tried.items():
        if batch != best:
            print(f"peak memory, TRL with {batch} pairs a forward pass: {ours.peak_gib / run.peak_gib:.2f}x")
    if options.json:
        found = {"ours": asdict(ours), "trl": asdict(theirs), "ratios": ratios}
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
