"""The trainer on a GPU against TRL's on the same card: tokens a second and memory, with rows of up to 8k tokens.

    python benchmarks/gpu.py --model Qwen/Qwen2.5-0.5B-Instruct

Each line is a measurement of `benchmarks/trainers.py` on random data, with bfloat16 passes on CUDA: ours with
FlexAttention, TRL with the attention that transformers chooses. Prints a table for `docs/gpu.md`.
"""

import argparse
from collections.abc import Iterable

from trainers import Case, Figures, in_process

# Tokens of a prompt and of an answer, candidates, prompts a step, LoRA rank, tokens of a row of ours.
SHAPES = [
    (300, 30, 4, 16, 0, 2048),
    (300, 30, 4, 16, 0, 8192),
    (300, 30, 2, 32, 0, 8192),
    (30, 300, 2, 32, 0, 8192),
    (1800, 50, 4, 8, 0, 8192),
    (1800, 50, 4, 8, 16, 8192),
]


def fastest(runs: Iterable[Figures]) -> Figures:
    """Return the run with the most pairs a second."""
    return max(runs, key=lambda run: run.pairs / run.seconds)


def main() -> None:
    """Measure every shape with both trainers."""
    parser = argparse.ArgumentParser(description="The trainer on a GPU against TRL's.")
    parser.add_argument("--model", default="builtin:smollm2-135m")
    parser.add_argument("--batches", type=int, nargs="+", default=[2, 4, 8], help="pairs a forward pass, for TRL")
    parser.add_argument("--repeats", type=int, default=2, help="measurements of each; the fastest counts")
    options = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("benchmarks/gpu.py: no CUDA device here; benchmarks/training.py measures on a CPU")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {options.model}, bfloat16 passes\n")
    print("| prompt / answer, candidates, prompts | LoRA | row | TRL, pairs/s | rlaif | ratio | tokens/s | GiB |")
    print("|---|---|---|---|---|---|---|---|")
    for shape in SHAPES:
        print(compare(options.model, shape, options.batches, options.repeats), flush=True)


def compare(model: str, shape: tuple[int, ...], batches: list[int], repeats: int) -> str:
    """Return a shape's line of the table."""
    prompt, answer, candidates, groups, rank, pack = shape

    def measure(trainer: str, batch: int) -> Figures:
        case = Case(trainer, model, None, prompt, answer, candidates, None, groups, rank, batch, pack, gpu=True)
        return fastest(in_process(case) for _ in range(repeats))

    theirs, ours = fastest(measure("trl", batch) for batch in batches), measure("ours", 0)
    speeds = [run.pairs / run.seconds for run in (theirs, ours)]
    return (
        f"| {prompt} / {answer}, {candidates}, {groups} | {rank or '–'} | {pack} | {speeds[0]:.1f} | {speeds[1]:.1f} "
        f"| {speeds[1] / speeds[0]:.1f}x | {ours.tokens / ours.seconds:,.0f} "
        f"| {ours.peak_gib:.2f} against {theirs.peak_gib:.2f} |"
    )


if __name__ == "__main__":
    main()
