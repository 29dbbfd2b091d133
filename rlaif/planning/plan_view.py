"""The plan as tables for a terminal, and as JSON."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import groupby
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from rlaif.planning.memory import GIB
from rlaif.planning.node_layout import NodeLayout
from rlaif.planning.plan import Plan
from rlaif.planning.seats import Seats
from rlaif.planning.tokens import Tokens

_PART_NAMES = {"adapter": "LoRA adapter", "kv_cache": "KV cache", "overhead": "buffers, libraries"}


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return what `rlaif plan --json` prints."""
    value = asdict(plan)
    value["recipe"] = plan.recipe.name
    del value["hardware"]["assumptions"]
    for seat, entry in zip(plan.seats, value["seats"], strict=True):
        entry["memory"]["total"] = seat.memory.total
        entry["devices"] = seat.devices
        entry["shape"]["parameters"] = seat.shape.parameters
    return value


def plan_view(plan: Plan) -> Iterator[RenderableType]:
    """Yield what `rlaif plan` prints: a headline, the tables, the totals, the assumptions."""
    hardware = plan.hardware
    device = "GPU" if hardware.gpu else "CPU node"
    nodes = f" in {hardware.nodes} nodes" if hardware.gpu and hardware.nodes > 1 else ""
    yield (
        f"[bold]{plan.recipe.name}[/bold]: {_count(hardware.devices, device)} of "
        f"{hardware.memory / GIB:.0f} GiB{nodes}, placement {plan.recipe.cluster.placement}, nothing started"
    )
    yield _placement_table(plan)
    if plan.layout is not None:
        yield _layout_table(plan.layout, plan.recipe.cluster.placement)
    yield _work_table(plan)
    total = f"in all: {'at most ' if plan.at_most else ''}about {_duration(plan.seconds)}"
    if plan.cost is not None:
        hours = hardware.devices * plan.seconds / 3600
        total += f", {hours:,.1f} {device} hours, {plan.cost:,.2f} at {hardware.price:g} an hour"
    yield f"[bold]{total}[/bold]"
    yield "\nassumed:"
    for line in plan.assumptions:
        yield Padding(Text(f"- {line}"), (0, 0, 0, 2))


def _placement_table(plan: Plan) -> Table:
    seats = plan.seats
    lora = plan.recipe.training.lora
    learned = f"LoRA, rank {lora.rank}" if lora else "full weights"
    own_judge = any(seat.role == "judge" for seat in seats)
    policy = "sample, judge, evaluate" if plan.judges and not own_judge else "sample, evaluate"
    stages = {"policy": policy, "judge": "judge", "training": "train"}
    columns = (Column(stages[seat.role], justify="right") for seat in seats)
    table = Table("", *columns, box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_row("model", *(seat.model.rsplit("/", 1)[-1].removesuffix("-Instruct") for seat in seats))
    table.add_row("engines x GPUs" if plan.hardware.gpu else "engines", *(_replicas(plan, seat) for seat in seats))
    table.add_row("learns", *(learned if seat.role == "training" else "" for seat in seats), end_section=True)
    memories = [seat.memory.parts() for seat in seats]
    unit = "GPU" if plan.hardware.gpu else "process"
    for part in memories[0]:
        name = f"weights, GiB a {unit}" if part == "weights" else _PART_NAMES.get(part, part)
        table.add_row(name, *(f"{memory[part] / GIB:.2f}" if memory[part] else "" for memory in memories))
    table.add_row("in all, of", *(f"{seat.memory.total / GIB:.1f} of {seat.allowed / GIB:.1f}" for seat in seats))
    table.add_section()
    token_sizes = [seat.kv_bytes_per_token for seat in seats]
    table.add_row("KV cache a token", *(f"{size / 1024:.0f} KiB" if size else "" for size in token_sizes))
    table.add_row("tokens that fit it", *(f"{seat.kv_tokens:,}" if seat.kv_tokens else "" for seat in seats))
    return table


def _layout_table(layout: NodeLayout, placement: str) -> Table:
    """Return a table with a row for each kind of node: how many there are, and the use of their GPUs."""
    # With `shared`, engines and training use the same GPUs in turn.
    uses = ("engines", "training") if placement == "split" else ("while engines work", "while the training works")
    counts = (Column(name, justify="right") for name in ("nodes", "GPUs of each"))
    table = Table(*counts, *uses, box=box.SIMPLE_HEAD, pad_edge=False)
    for use, count in Counter(layout.nodes).items():
        engines = ", ".join(f"{share.role}: {_count(share.count, 'GPU')}" for share in use.engines)
        table.add_row(str(count), str(use.gpus), engines, _count(use.workers, "worker") if use.workers else "")
    return table


def _replicas(plan: Plan, seat: Seats) -> str:
    if seat.role == "training":
        return f"{seat.count} workers, {seat.strategy}" if seat.count > 1 else "1 worker"
    return f"{seat.count} x {seat.devices_each}" if plan.hardware.gpu else str(seat.count)


def _work_table(plan: Plan) -> Table:
    """Return a table with a block for each round; rounds with the same work share one. Counts are tokens."""
    hardware = plan.hardware
    money = ("cost",) if hardware.price is not None else ()
    names = ("requests", "sent", "computed", "written", "time", "GPU h" if hardware.gpu else "node h", *money)
    columns = (Column(name, justify="right", no_wrap=True) for name in names)
    table = Table(Column("", no_wrap=True), *columns, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)

    def row(name: str, work: Tokens | None, seconds: float, device_seconds: float, *, end: bool = False) -> None:
        hours = device_seconds / 3600
        cost = (_amount(hours * hardware.price),) if hardware.price is not None else ()
        counts = ("",) * 4
        if work is not None:
            written = _short(work.written) if work.written else ""
            counts = (_short(work.requests), _short(work.sent), _short(work.computed), written)
        table.add_row(name, *counts, _duration(seconds), _amount(hours), *cost, end_section=end)

    row("initial policy", None, plan.baseline_seconds, hardware.devices * plan.baseline_seconds, end=True)
    for work, group in groupby(plan.rounds, key=lambda entry: replace(entry.tokens, number=0)):
        rounds = list(group)
        last = rounds[-1]  # The first round of a run samples without an adapter, which is a little faster.
        spent = last.device_seconds
        numbers = f"round {last.tokens.number}"
        if len(rounds) > 1:
            numbers = f"rounds {rounds[0].tokens.number}-{last.tokens.number}, each"
        row(f"[bold]{numbers}[/bold]", None, last.seconds, hardware.devices * last.seconds)
        row("  sample", work.sample, last.sample, spent.sample)
        for judge, tokens, seconds, on_devices in zip(plan.judges, work.judge, last.judge, spent.judge, strict=True):
            row("  judge" if len(plan.judges) == 1 else f"  {judge.name}", tokens, seconds, on_devices)
        row("  train", work.train, last.train, spent.train)
        row("  evaluate", work.evaluate, last.evaluate, spent.evaluate)
        # The time is that of the starts; devices also wait while others work.
        row("  starts, waiting", None, last.starts, spent.idle, end=True)
    return table


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _amount(value: float) -> str:
    return f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"


def _short(count: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
