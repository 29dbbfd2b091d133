"""One trainer, ours or TRL's, measured in a process of its own that waits before each optimizer step.

Run as a script with a `Work` as JSON it is that process, and takes a step for each line on its standard input;
`Contender` is the other end. What is timed, and against what, is said in `training.py` and `gpu.py`.
"""

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
from typing import Any

# The vocabulary's first ids are special tokens.
_FIRST_TOKEN, _LAST_TOKEN = 100, 40_000
_RATE = 1e-5
_STEP, _RESULT = "step: ", "result: "  # What begins a process's lines to whoever started it.
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
    from rlaif.training.dpo.trainer import GroupDPOTrainer
    from rlaif.training.groups import with_reference
    from rlaif.training.packing import plan_training
    from rlaif.training.scoring import score_groups

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
        args = arguments(folder, work, 1, plan.accumulation)
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
            [sys.executable, __file__, json.dumps(asdict(work))],
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


def main() -> None:
    """Measure what the argument says."""
    work = Work(**json.loads(sys.argv[1]))
    measured = measure_ours(work) if work.trainer == "ours" else measure_trl(work)
    print(f"{_RESULT}{json.dumps(asdict(measured))}", flush=True)


if __name__ == "__main__":
    main()
