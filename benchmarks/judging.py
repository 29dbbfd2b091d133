"""The tokens that the prefix cache saves a judge, over all comparisons of one question's candidates.

    python benchmarks/judging.py --shared 300 --answer 30 --candidates 4
    python benchmarks/judging.py --block-sizes 16 32 64 128 --repeats 5

A judge of one token compares every two candidates in both orders, on a real engine, once for each size of the cache's
blocks; all engines live at once and take turns, so that other load on the machine falls on all. The computed tokens are
vLLM's own count: the requests' tokens without those from the cache. They are compared with three figures, calculated
from the requests' tokens:

- no cache: all tokens of all requests.
- the cache: each whole block at the beginning of some request, once, and the tokens outside whole blocks. No order of
  the requests and no cache of such blocks can compute less.
- the bound: the shared part once, the parts that differ, and for each later request the shared part's tokens in its
  last, unfilled block.

`--orders first` sends the first request alone before the others; `together` sends all at once, as a run does. Replies
from the cache are also compared with those of an empty one.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Order = Literal["together", "first"]

_MODEL = "builtin:smollm2-135m"
_WORDS = ("revenue", "margin", "income", "cash", "debt", "assets", "sales", "cost", "tax", "share", "equity", "profit")


@dataclass(frozen=True, slots=True)
class Measured:
    """All comparisons of one question's candidates, with one size of block and one order.

    Attributes:
        block: tokens of a block.
        order: in which the requests were sent.
        requests: how many.
        shared: tokens that all of them begin with.
        no_cache, bound, cache: see above, in tokens.
        computed: what the engine computed, in tokens.
        seconds: from the first request to the last reply, each repetition.
        difference: largest distance of a label's log-probability from that of an empty cache, in nats.
    """

    block: int
    order: Order
    requests: int
    shared: int
    no_cache: int
    bound: int
    cache: int
    computed: int
    seconds: list[float]
    difference: float


def common(sequences: Sequence[Sequence[int]]) -> int:
    """Return how many first items all sequences share."""
    shortest = min(map(len, sequences))
    return next((i for i in range(shortest) if len({sequence[i] for sequence in sequences}) > 1), shortest)


def least_with(block: int, requests: Sequence[Sequence[int]]) -> int:
    """Return the fewest tokens that a cache of whole blocks leaves to compute.

    The last token of a request is always computed, with its block: it gives the reply.
    """
    held: set[tuple[int, ...]] = set()
    computed = 0
    for tokens in requests:
        hit = 0
        while hit + block < len(tokens) and tuple(tokens[: hit + block]) in held:
            hit += block
        computed += len(tokens) - hit
        held |= {tuple(tokens[:end]) for end in range(block, len(tokens) + 1, block)}
    return computed


def bound_with(block: int, requests: Sequence[Sequence[int]]) -> int:
    """Return the tokens of the shared part once, the parts that differ, and each later request's unfilled block."""
    shared = common(requests)
    return shared + sum(len(tokens) - shared for tokens in requests) + (len(requests) - 1) * (shared % block)


@dataclass
class RecordingBackend:
    """Serves a judge's model by an engine in this process, and records the requests.

    Attributes:
        engine: the engine; None only records the requests.
        order: of the requests.
        requests: the last ones.
        replies: theirs.
        identity: see `rlaif.inference.requests.ModelBackend`.
    """

    engine: Any
    order: Order = "together"
    requests: list[Any] = field(default_factory=list)
    replies: list[Any] = field(default_factory=list)
    identity: str = ""

    def vllm(self, model: str) -> "RecordingBackend":
        """See `rlaif.inference.requests.Backends`."""
        return self

    async def choices(self, requests: Sequence[Any]) -> list[Any]:
        """See `rlaif.inference.requests.ModelBackend`."""
        from rlaif.inference.requests import ChoiceReply

        self.requests = list(requests)
        if self.engine is None:
            return [ChoiceReply([], 0, 0, 0.0, failure="not sent") for _ in requests]
        self.replies = []
        if self.order == "first":
            self.replies.append(self.engine.choose(self.requests[0]).result())
        futures = [self.engine.choose(request) for request in self.requests[len(self.replies) :]]
        self.replies += [future.result() for future in futures]
        return self.replies


def requests_of(judge_name: str, question: Any, answers: Sequence[str], tokenizer: Any) -> list[list[int]]:
    """Return the tokens of a judge's requests about all comparisons, in its order."""
    from rlaif.judges.build import build_judge
    from rlaif.judges.judge_file import load_judge_file

    backend = RecordingBackend(None)
    asyncio.run(build_judge(load_judge_file(judge_name), backend).verdicts(question, answers))
    return [
        list(tokenizer.apply_chat_template(r.messages, add_generation_prompt=True, tokenize=True, return_dict=False))
        + list(tokenizer.encode(r.prefix, add_special_tokens=False))
        for r in backend.requests
    ]


def made_question(judge_name: str, shared: int, answer: int, candidates: int, tokenizer: Any) -> tuple[Any, list[str]]:
    """Return a question and candidates whose comparisons share `shared` tokens.

    Raises:
        SystemExit: the judge's own prompt shares more tokens.
    """
    from rlaif.data.question import Question

    draw = random.Random(0)
    # Of one token each, so that any number of tokens can be reached.
    words = [word for word in _WORDS if len(tokenizer.encode(f" {word}", add_special_tokens=False)) == 1]
    answers = [" ".join([f"{number}", *draw.choices(words, k=answer - 1)]) for number in range(1, candidates + 1)]
    context = draw.choices(words, k=shared)
    for count in range(1, shared):
        question = Question("q", "What was net revenue in 2023?", " ".join(context[:count]))
        found = common(requests_of(judge_name, question, answers, tokenizer))
        if found == shared:
            return question, answers
        if found > shared:
            break
    raise SystemExit(f"{judge_name} shares {found} tokens of its own; expected --shared of more")


def measure(options: argparse.Namespace) -> list[Measured]:
    """Measure every size of block that the engine accepts, in every order."""
    from rlaif.cluster.ray_cluster import ENVIRONMENT
    from rlaif.inference.vllm.actor import cpu_threads, engine_options
    from rlaif.recipe import EnginesSection

    section = EnginesSection(kv_cache_gib=options.kv_cache_gib, threads=options.threads)
    # As an engine of a run has it; read when torch and vLLM are imported.
    os.environ |= ENVIRONMENT
    if not options.gpu:
        os.environ["OMP_NUM_THREADS"] = str(cpu_threads(section, 1))
    from transformers import AutoTokenizer

    from rlaif.inference.vllm.engine import VllmEngine
    from rlaif.judges.build import build_judge
    from rlaif.judges.judge_file import load_judge_file
    from rlaif.models.resolve import resolve_model
    from rlaif.store.policy_weights import PolicyWeights

    folder = resolve_model(options.model)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    question, answers = made_question(options.judge, options.shared, options.answer, options.candidates, tokenizer)
    requests = requests_of(options.judge, question, answers, tokenizer)
    context = -(-(max(map(len, requests)) + 1) // 256) * 256
    base = engine_options(section, options.gpu, "auto" if options.gpu else "float32", context, engines_on_node=1)
    engines: dict[int, VllmEngine] = {}
    for block in options.block_sizes:
        try:
            engines[block] = VllmEngine(
                folder,
                base | {"block_size": block},
                PolicyWeights("base", "base"),
                max_probe_difference=0.002,
                max_length=context,
            )
        except (ValueError, RuntimeError) as error:
            print(f"blocks of {block}: refused by vLLM: {str(error).splitlines()[0]}")
    if not engines:
        raise SystemExit("no size of block is left")
    spec = load_judge_file(options.judge)
    emptied = 0

    def empty(engine: Any) -> None:
        # Other weights, by their name: no update leaves anything in the cache.
        nonlocal emptied
        emptied += 1
        engine.update(PolicyWeights(f"base, {emptied}", "base"), "").result()

    alone = {}
    for block, engine in engines.items():
        backend = RecordingBackend(engine)
        asyncio.run(build_judge(spec, backend).verdicts(question, answers))  # Warms up, and records the requests.
        alone[block] = []
        for request in backend.requests:
            empty(engine)
            alone[block].append(engine.choose(request).result().logprobs)
    found: dict[tuple[int, Order], Measured] = {}
    for _ in range(options.repeats):
        for block, engine in engines.items():
            for order in options.orders:
                empty(engine)
                backend = RecordingBackend(engine, order)
                judge = build_judge(spec, backend)
                before = asdict(engine.prefill)
                started = time.perf_counter()
                asyncio.run(judge.verdicts(question, answers))
                seconds = time.perf_counter() - started
                read = engine.prefill.prompt_tokens - before["prompt_tokens"]
                cached = engine.prefill.cached_tokens - before["cached_tokens"]
                if read != sum(map(len, requests)):
                    raise SystemExit(f"the engine read {read} tokens of {sum(map(len, requests))}")
                difference = max(
                    abs(ours - theirs)
                    for reply, right in zip(backend.replies, alone[block], strict=True)
                    for ours, theirs in zip(reply.logprobs, right, strict=True)
                )
                entry = found.setdefault(
                    (block, order),
                    Measured(
                        block, order, len(requests), common(requests), read, bound_with(block, requests),
                        least_with(block, requests), read - cached, [], difference,
                    ),
                )  # fmt: skip
                if entry.computed != read - cached:
                    raise SystemExit(f"blocks of {block}: computed {entry.computed}, then {read - cached} tokens")
                entry.seconds.append(seconds)
    for engine in engines.values():
        engine.close()
    return list(found.values())


def show(found: Sequence[Measured], options: argparse.Namespace) -> bool:
    """Print the measurements; return whether the cache held all that it could, and the bound was kept."""
    one = found[0]
    print(
        f"{options.model}, judge {options.judge}: {options.candidates} candidates, {one.requests} requests of "
        f"{one.no_cache / one.requests:.0f} tokens, {one.shared} of them shared"
    )
    print(f"{'block':>5} {'order':<9} {'computed':>8} {'cache':>6} {'bound':>6} {'no cache':>8} {'seconds':>8}  nats")
    for entry in found:
        print(
            f"{entry.block:>5} {entry.order:<9} {entry.computed:>8} {entry.cache:>6} {entry.bound:>6} "
            f"{entry.no_cache:>8} {statistics.median(entry.seconds):>8.3f}  {entry.difference:.1e}"
        )
    fewest = min(found, key=lambda entry: entry.computed)
    fastest = min(found, key=lambda entry: statistics.median(entry.seconds))
    print(
        f"fewest tokens: blocks of {fewest.block}, {fewest.no_cache / fewest.computed:.2f}x fewer than without a cache"
    )
    print(f"fastest: blocks of {fastest.block}, sent {fastest.order}")
    kept = all(entry.computed == entry.cache and entry.computed <= entry.bound for entry in found)
    print("every token that the cache could hold was computed once" if kept else "tokens were computed in vain")
    return kept


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="The tokens that the prefix cache saves a judge.")
    parser.add_argument("--model", default=_MODEL)
    parser.add_argument("--judge", default="finance-grounded", help="a pairwise judge that answers with one token")
    parser.add_argument("--shared", type=int, default=300, help="tokens that all comparisons begin with")
    parser.add_argument("--answer", type=int, default=30, help="words of an answer, one token each")
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--block-sizes", type=int, nargs="+", default=[16, 32, 64, 128])
    parser.add_argument("--orders", nargs="+", choices=["together", "first"], default=["together", "first"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--kv-cache-gib", type=float, default=0.25)
    parser.add_argument("--threads", type=int, help="of an engine on a CPU; all cores if left out")
    parser.add_argument("--gpu", action="store_true")
    parser.add_argument("--json", type=Path, help="write all measurements there")
    options = parser.parse_args()
    found = measure(options)
    kept = show(found, options)
    if options.json:
        options.json.write_text(json.dumps([asdict(entry) for entry in found], indent=2) + "\n", encoding="utf-8")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
