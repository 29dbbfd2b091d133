"""Measures one trainer, ours or TRL's, in a process of its own that waits before each optimizer step.

Run as a script with a `Case` as JSON, this is that process; it takes a step for each line on standard input.
`Contender` is the other end. `training.py` and `gpu.py` say what is compared.
"""

import importlib
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
_STEP, _RESULT = "step: ", "result: "  # These begin the process's lines of output.
# As for a run's workers: freed memory stays with the process.
_ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One case: the data and how to train on it.

    Attributes:
        trainer: `ours` or `trl`.
        model: a hub id, a folder or `builtin:...`.
        file: a `pairs.parquet`; None generates data.
        prompt, answer, candidates: tokens of a prompt, tokens of an answer, candidates of a prompt.
        pairs: pairs of a prompt; None is every two candidates.
        groups: prompts.
        rank: of a LoRA adapter; 0 trains all weights.
        batch: pairs of a forward pass, for TRL.
        pack: token budget of a forward pass, for ours.
        steps: timed steps, after a first one that warms up.
        gpu: whether on CUDA: bfloat16 passes, and a frozen base in bfloat16.
        objective: `dpo`; `sft`: a prompt is then a document, and a candidate a question with its answer; or `grpo`.
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
    objective: str = "dpo"


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one case.

    Attributes:
        seconds: of a timed step, the median; for TRL with its reference pass.
        reference_seconds: of a reference pass of ours; 0 for TRL.
        pairs: trained on; for `sft`, demonstrations; for `grpo`, prompts with all their answers.
        tokens: of a step, forward and backward, without padding.
        reference_tokens: of the reference pass.
        peak_gib: largest resident memory of the process; on CUDA the largest memory of all tensors.
        loss: of the second step.
    """

    seconds: float
    reference_seconds: float
    pairs: int
    tokens: int
    reference_tokens: int
    peak_gib: float
    loss: float


def random_groups(case: Case) -> list[Any]:
    """Return random prompts and answers of the measurement's shape."""
    from rlaif.training.groups import Group, Pair

    draw = random.Random(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(_FIRST_TOKEN, _LAST_TOKEN) for _ in range(count))

    groups = []
    for number in range(case.groups):
        every = list(combinations(range(case.candidates), 2))[: case.pairs]
        pairs = tuple(Pair(f"{number}-{a}-{b}", a, b, float("nan"), float("nan")) for a, b in every)
        groups.append(
            Group(
                tokens(case.prompt),
                tuple(tokens(case.answer) for _ in range(case.candidates)),
                pairs,
            )
        )
    return groups


def all_groups(case: Case) -> list[Any]:
    """Return random groups, or the first groups of a file."""
    if case.file is None:
        return random_groups(case)
    import pyarrow.parquet as pq

    from rlaif.training.groups import group_pairs

    return group_pairs(pq.read_table(case.file).to_pylist())[: case.groups]


def load(case: Case) -> tuple[Any, Any]:
    """Return the model, as ours or as TRL's users load it, and its tokenizer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rlaif.models.resolve import resolve_model
    from rlaif.training.models import load_model

    folder = resolve_model(case.model)
    dtype = "bfloat16" if case.gpu and case.rank else "float32"
    model = (
        load_model(folder, dtype, case.gpu)
        if case.trainer == "ours"
        else AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    )
    if case.rank:
        torch.manual_seed(0)
        model = get_peft_model(model, LoraConfig(r=case.rank, target_modules="all-linear", task_type="CAUSAL_LM"))
    return model, AutoTokenizer.from_pretrained(folder)


def arguments(folder: str, case: Case, batch: int, accumulation: int, kind: Any, **own: Any) -> Any:
    """Return the settings that both trainers share, as a `kind` with its own; each step goes over all pairs."""
    return kind(
        output_dir=folder, use_cpu=not case.gpu, bf16=case.gpu, gradient_checkpointing=False, report_to=[],
        disable_tqdm=True, save_strategy="no", num_train_epochs=1 + case.steps, per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation, learning_rate=_RATE, lr_scheduler_type="constant", logging_steps=1,
        seed=0, dataloader_pin_memory=False, **own,
    )  # fmt: skip


def dpo_arguments(folder: str, case: Case, batch: int, accumulation: int) -> Any:
    """Return the settings of a DPO training."""
    from trl import DPOConfig

    return arguments(folder, case, batch, accumulation, DPOConfig, max_length=None, precompute_ref_log_probs=False)


def time_steps(trainer: Any, steps: int) -> tuple[float, float]:
    """Train a step for each line on standard input; return a step's median seconds and the second step's loss."""
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
                raise SystemExit("the measurement was abandoned")
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


def measure_ours(case: Case) -> Figures:
    """Train with `GroupDPOTrainer`."""
    from rlaif.recipe import TrainingSection
    from rlaif.training.dpo.trainer import GroupDPOTrainer
    from rlaif.training.groups import plan_training, with_reference
    from rlaif.training.models import score_groups

    model, tokenizer = load(case)
    groups = all_groups(case)
    # On CUDA the first pass of a length compiles for it.
    score_groups(model, groups if case.gpu else groups[:1], case.pack, case.gpu)
    started = time.perf_counter()
    scores = score_groups(model, groups, case.pack, case.gpu)
    reference_seconds = time.perf_counter() - started
    groups = [with_reference(group, logps) for group, logps in zip(groups, scores, strict=True)]
    plan = plan_training(
        groups,
        epochs=1 + case.steps,
        groups_per_step=len(groups),
        max_tokens=case.pack,
        workers=1,
        seed=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        args = dpo_arguments(folder, case, 1, plan.accumulation)
        # The plan contains all steps.
        args.num_train_epochs, args.remove_unused_columns = 1, False
        seconds, loss = time_steps(
            GroupDPOTrainer(
                model,
                args=args,
                processing_class=tokenizer,
                groups=groups,
                plan=plan,
                settings=TrainingSection(beta=args.beta),
            ),
            case.steps,
        )
    tokens = sum(group.tokens for group in groups)
    pairs = sum(len(group.pairs) for group in groups)
    return Figures(seconds, reference_seconds, pairs, tokens, 0, peak_gib(case.gpu), loss)


def measure_trl(case: Case) -> Figures:
    """Train with TRL's own trainer, on encoded rows."""
    from datasets import Dataset
    from trl import DPOTrainer

    class TokenDPOTrainer(DPOTrainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Dataset, *_: Any, **__: Any) -> Dataset:
            return dataset

    model, tokenizer = load(case)
    rows = [
        {
            "prompt_ids": list(group.prompt_token_ids),
            "chosen_ids": list(group.candidates[pair.chosen]),
            "rejected_ids": list(group.candidates[pair.rejected]),
        }
        for group in all_groups(case)
        for pair in group.pairs
    ]
    with tempfile.TemporaryDirectory() as folder:
        args = dpo_arguments(folder, case, case.batch, -(-len(rows) // case.batch))
        seconds, loss = time_steps(
            TokenDPOTrainer(model, args=args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer),
            case.steps,
        )
    # Without padding, which favours TRL where lengths differ.
    tokens = sum(2 * len(r["prompt_ids"]) + len(r["chosen_ids"]) + len(r["rejected_ids"]) for r in rows)
    return Figures(seconds, 0.0, len(rows), tokens, tokens, peak_gib(case.gpu), loss)


def peak_gib(gpu: bool) -> float:
    """Return this process's largest resident memory, or the largest memory of its tensors on the GPU."""
    if gpu:
        import torch

        return torch.cuda.max_memory_allocated() / 1024**3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


class Contender:
    """A trainer in a process of its own that waits before each step."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # as long as the process
        self._process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(asdict(case))],
            env={**os.environ, **_ENVIRONMENT}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
            text=True,
        )  # fmt: skip
        self.step()  # It warms up.

    def step(self) -> float:
        """Take the next step and return its seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._line(_STEP))

    def result(self) -> Figures:
        """Return the figures, after the last step."""
        found = Figures(**json.loads(self._line(_RESULT)))
        self._process.wait()
        return found

    def _line(self, begin: str) -> str:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            if text.startswith(begin):
                return text.removeprefix(begin)
        self._errors.seek(0)
        raise SystemExit(f"{self._case.trainer}: {self._errors.read()[-3000:]}")


def in_process(case: Case) -> Figures:
    """Run one measurement alone."""
    contender = Contender(case)
    for _ in range(case.steps):
        contender.step()
    return contender.result()


def main() -> None:
    """Run the measurement of the first argument."""
    case = Case(**json.loads(sys.argv[1]))
    if case.objective != "dpo":
        of_objective = importlib.import_module(f"{case.objective}_trainers")
        measured = of_objective.measure_ours(case) if case.trainer == "ours" else of_objective.measure_trl(case)
    else:
        measured = measure_ours(case) if case.trainer == "ours" else measure_trl(case)
    print(f"{_RESULT}{json.dumps(asdict(measured))}", flush=True)


if __name__ == "__main__":
    main()
