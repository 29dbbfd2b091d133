"""Training against TRL's `DPOTrainer`, `SFTTrainer` or `GRPOTrainer`, on the same data, in one run.

    python benchmarks/training.py --prompt 300 --answer 30 --candidates 4
    python benchmarks/training.py --pairs runs/demo/round-000/pairs.parquet --lora 16
    python benchmarks/training.py --objective sft --prompt 300 --answer 10 --candidates 4
    python benchmarks/training.py --objective grpo --prompt 300 --answer 30 --candidates 8

Each trainer is a process of its own that takes optimizer steps over the same data. The first step warms up, the later
ones are timed. The two take turns step by step, so that other load on the machine falls on both; the ratio is the
median over turns. TRL runs its fastest correct configuration, which the same run determines first: no gradient
checkpointing, no padding to a fixed length, and the fastest number of pairs a forward pass of those tried; the memory
of the others is printed too. Its time includes its reference pass. Ours trains against the log-probabilities that came
with the samples; the time of a reference pass is printed beside it. The loss is that of the second step: the trainers
agree on it only if the first step moved their weights alike.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from math import comb
from pathlib import Path

from trainers import Case, Contender, Figures

# With far fewer, the fixed cost of a step dominates. It is a multiple of 1, 2, 3, 4 and 6: TRL gives the pairs of a
# smaller last batch more weight.
_PAIRS = 12


def take_turns(one: Case, other: Case) -> tuple[Figures, Figures, list[float]]:
    """Measure two, step by step in turn; the third result is the ratio of their seconds in each turn."""
    first, second = Contender(one), Contender(other)
    ratios = [first.step() / second.step() for _ in range(one.steps)]
    return first.result(), second.result(), ratios


def fastest(case: Callable[[int], Case], batches: Sequence[int]) -> tuple[int, dict[int, Figures]]:
    """Return the fastest number of pairs a forward pass, and each one's figures against the best so far.

    A single one is not measured.
    """
    best = batches[0]
    tried: dict[int, Figures] = {}
    for batch in batches[1:]:
        before, now, (ratio,) = take_turns(case(best), case(batch))
        tried |= {best: before, batch: now}
        best = batch if ratio > 1 else best
    for batch, run in tried.items():
        print(f"TRL with {batch} rows a forward pass: {run.pairs / run.seconds:.3f} a second, {run.peak_gib:.2f} GiB")
    return best, tried


def line(name: str, run: Figures) -> str:
    """Return one trainer's line."""
    speed, computed = run.pairs / run.seconds, f"{run.tokens:,} forward and backward, {run.reference_tokens:,} forward"
    return f"{name:<14} {speed:8.3f} a second  {run.peak_gib:5.2f} GiB peak  loss {run.loss:.4f}  tokens: {computed}"


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description="Training against TRL's trainers.")
    parser.add_argument("--model", default="builtin:smollm2-135m")
    parser.add_argument("--pairs", dest="file", help="a pairs.parquet instead of random data")
    parser.add_argument("--prompt", type=int, default=300, help="tokens of a prompt")
    parser.add_argument("--answer", type=int, default=30, help="tokens of an answer")
    parser.add_argument("--candidates", type=int, default=4, help="candidates of a prompt")
    parser.add_argument("--pairs-per-prompt", type=int, help="default: all")
    parser.add_argument(
        "--groups", type=int, help=f"prompts; default: as many as have {_PAIRS} pairs, or six of a file"
    )
    parser.add_argument("--lora", type=int, default=0, metavar="RANK", help="train an adapter; 0 trains all weights")
    parser.add_argument(
        "--batches", type=int, nargs="+", default=[1, 2, 4],
        help="pairs, demonstrations or answers a forward pass to try for TRL; a single one is taken untried. Two "
        "trainers are in memory at a time, for 2 and 4 some 19 GiB",
    )  # fmt: skip
    parser.add_argument(
        "--objective", choices=["dpo", "sft", "grpo"], default="dpo",
        help="sft: a prompt is a document, and its candidates are questions on it with their answers; grpo: each "
        "candidate has a made-up reward, and nothing is sampled",
    )  # fmt: skip
    parser.add_argument("--pack", type=int, default=1024, help="tokens a forward pass of ours")
    parser.add_argument("--turns", type=int, default=3, help="timed steps of each, in turn")
    parser.add_argument("--json", type=Path, help="file for all measurements")
    options = parser.parse_args()

    dpo = options.objective == "dpo"
    pairs_of_one = options.pairs_per_prompt or comb(options.candidates, 2) if dpo else options.candidates
    groups = options.groups or (6 if options.file else -(-_PAIRS // pairs_of_one))

    def case(trainer: str, batch: int, steps: int) -> Case:
        return Case(
            trainer, options.model, options.file, options.prompt, options.answer, options.candidates,
            options.pairs_per_prompt, groups, options.lora, batch, options.pack, steps,
            objective=options.objective,
        )  # fmt: skip

    best, tried = fastest(lambda batch: case("trl", batch, 1), options.batches)
    theirs, ours, ratios = take_turns(case("trl", best, options.turns), case("ours", 0, options.turns))
    kind = f"LoRA of rank {options.lora}" if options.lora else "all weights"
    shape = options.file or f"{options.prompt}/{options.answer} tokens, {options.candidates} candidates"
    units = {"dpo": "pairs", "sft": "demonstrations", "grpo": "groups"}[options.objective]
    print(f"{options.model}, float32, {kind}; {shape}, {groups} prompts, {ours.pairs} {units} a step")
    print(line(f"TRL, batch {best}", theirs))
    if options.objective != "grpo" and (left := theirs.pairs % best):
        print(f"  its loss is not a mean over the pairs: {left} in the last pass weigh as much as {best} elsewhere")
    print(line("rlaif", ours))
    faster = statistics.median(ratios)
    with_reference = faster * ours.seconds / (ours.seconds + ours.reference_seconds)
    turns = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    # Only preferences need a reference.
    reference = "" if not dpo else f"; {with_reference:.1f}x with a reference pass of ours"
    print(f"{units} a second: {faster:.1f}x (turns: {turns}{reference})")
    print(f"peak memory: {ours.peak_gib / theirs.peak_gib:.2f}x")
    for batch, run in tried.items():
        if batch != best:
            print(f"peak memory, TRL with {batch} rows a forward pass: {ours.peak_gib / run.peak_gib:.2f}x")
    if options.json:
        found = {"ours": asdict(ours), "trl": asdict(theirs), "ratios": ratios}
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
