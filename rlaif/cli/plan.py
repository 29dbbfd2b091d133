"""`rlaif plan`: placement, memory, tokens, time and money of a run, with nothing started."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rlaif.planning.layout import Layout
    from rlaif.planning.placement import Seats
    from rlaif.planning.plan import Plan
    from rlaif.planning.tokens import Tokens

_GIB = 1 << 30


def plan(
    recipe: Annotated[str, typer.Argument(help="Path of a recipe, or the name of one in recipes/.")],
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting.")] = None,
    cluster: Annotated[str | None, typer.Option(metavar="FILE", help="A `cluster:` section of its own.")] = None,
    address: Annotated[
        str | None, typer.Option(help="Take the machines of a Ray cluster: its dashboard, such as http://HEAD:8265.")
    ] = None,
    gpus: Annotated[int | None, typer.Option(min=1, help="GPUs there are; as many as needed if left out.")] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Machines they are in.")] = None,
    gpu_type: Annotated[str | None, typer.Option(help="h100, h200, a100-80gb, a100-40gb, l40s, a10g or l4.")] = None,
    gpu_memory: Annotated[float | None, typer.Option(min=1, metavar="GIB", help="Memory of a GPU.")] = None,
    host_memory: Annotated[float | None, typer.Option(min=1, metavar="GIB", help="Memory of a CPU node.")] = None,
    tflops: Annotated[
        float | None, typer.Option(min=0.001, help="Peak TFLOP/s of a GPU (bfloat16) or of a CPU node (float32).")
    ] = None,
    bandwidth: Annotated[
        float | None, typer.Option(min=0.001, metavar="TB/S", help="Memory bandwidth of a GPU.")
    ] = None,
    price: Annotated[
        float | None, typer.Option("--price-per-gpu-hour", min=0, help="Money for a GPU (or a CPU node) and hour.")
    ] = None,
    questions: Annotated[int | None, typer.Option(min=1, help="Questions to train on, instead of those found.")] = None,
    prompt_tokens: Annotated[
        int | None, typer.Option(min=1, help="Mean tokens of a prompt, instead of measured.")
    ] = None,
    answer_tokens: Annotated[int | None, typer.Option(min=1, help="Mean tokens of an answer.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Show where a recipe's engines and workers go, and what memory, tokens, time and money it takes."""
    from rlaif.planning.hardware import HardwareOptions
    from rlaif.planning.plan import PlanOptions, make_plan
    from rlaif.recipe import load_recipe

    hardware = HardwareOptions(gpus, nodes, gpu_type, gpu_memory, host_memory, tflops, bandwidth, price)
    if address is not None:
        from rlaif.jobs.ray_head import nodes as live_nodes
        from rlaif.planning.ray_nodes import hardware_of

        hardware = hardware_of(live_nodes(address), hardware, address)
    made = make_plan(load_recipe(recipe, set_, cluster), PlanOptions(hardware, questions, prompt_tokens, answer_tokens))
    if json_:
        import json

        typer.echo(json.dumps(_as_json(made), indent=2))
        return
    _print(made)


def _print(made: "Plan") -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    device = "GPU" if made.hardware.gpu else "CPU node"
    many = "" if made.hardware.devices == 1 else "s"
    nodes = f" in {made.hardware.nodes} nodes" if made.hardware.gpu and made.hardware.nodes > 1 else ""
    console.print(
        f"[bold]{made.recipe.name}[/bold]: {made.hardware.devices} {device}{many} of "
        f"{made.hardware.memory / _GIB:.0f} GiB{nodes}, placement {made.recipe.cluster.placement}, nothing started"
    )
    console.print(_placement_table(made))
    if made.layout is not None:
        console.print(_layout_table(made.layout, made.recipe.cluster.placement))
    console.print(_work_table(made))
    total = f"in all: {'at most ' if made.at_most else ''}about {_duration(made.seconds)}"
    if made.cost is not None:
        hours = made.hardware.devices * made.seconds / 3600
        total += f", {hours:,.1f} {device} hours, {made.cost:,.2f} at {made.hardware.price:g} an hour"
    console.print(f"[bold]{total}[/bold]")
    console.print("\nassumed:")
    for line in made.assumptions:
        console.print(Padding(Text(f"- {line}"), (0, 0, 0, 2)))


def _placement_table(made: "Plan") -> Any:
    """A column for each pool; a row for each thing that takes memory."""
    from rich import box
    from rich.table import Table

    seats = made.seats
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for seat in seats:
        table.add_column(_stages(made, seat), justify="right")
    table.add_row("model", *(seat.model.rsplit("/", 1)[-1].removesuffix("-Instruct") for seat in seats))
    table.add_row("engines x GPUs" if made.hardware.gpu else "engines", *(_where(made, seat) for seat in seats))
    table.add_row("learns", *(_learns(made) if seat.role == "training" else "" for seat in seats), end_section=True)
    memories = [seat.memory for seat in seats]
    parts = {
        "weights": [memory.weights for memory in memories],
        "LoRA adapter": [memory.adapter for memory in memories],
        "KV cache": [memory.kv_cache for memory in memories],
        "gradients": [memory.gradients for memory in memories],
        "optimizer": [memory.optimizer for memory in memories],
        "activations": [memory.activations for memory in memories],
        "buffers, libraries": [memory.overhead for memory in memories],
    }
    unit = "GPU" if made.hardware.gpu else "process"
    for number, (name, sizes) in enumerate(parts.items()):
        label = f"{name}, GiB a {unit}" if number == 0 else name
        table.add_row(label, *(f"{size / _GIB:.2f}" if size else "" for size in sizes))
    table.add_row("in all, of", *(f"{seat.memory.total / _GIB:.1f} of {seat.allowed / _GIB:.1f}" for seat in seats))
    table.add_section()
    engines = [(seat.kv_bytes_per_token, seat.kv_tokens) for seat in seats]
    table.add_row("KV cache a token", *(f"{size / 1024:.0f} KiB" if size else "" for size, _ in engines))
    table.add_row("tokens that fit it", *(f"{tokens:,}" if tokens else "" for _, tokens in engines))
    return table


def _layout_table(layout: "Layout", placement: str) -> Any:
    """A row for each kind of node: how many there are, and what their GPUs do."""
    from collections import Counter

    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    # With `split` each keeps its own; with `shared` the two take turns.
    at = ("engines", "training") if placement == "split" else ("while engines work", "while the training works")
    for name in ("nodes", "GPUs of each", *at):
        table.add_column(name, justify="right" if name in ("nodes", "GPUs of each") else "left")
    for use, count in Counter(layout.nodes).items():
        engines = [f"{share.role}: {_gpus(share.count)}" for share in use.engines]
        workers = f"{use.workers} worker{'s' * (use.workers > 1)}" if use.workers else ""
        table.add_row(str(count), str(use.gpus), ", ".join(engines), workers)
    return table


def _gpus(count: int) -> str:
    return f"{count} GPU{'s' * (count > 1)}"


def _stages(made: "Plan", seat: "Seats") -> str:
    own = any(other.role == "judge" for other in made.seats)
    policy = "sample, judge, evaluate" if made.judges and not own else "sample, evaluate"
    return {"policy": policy, "judge": "judge", "training": "train"}[seat.role]


def _where(made: "Plan", seat: "Seats") -> str:
    if seat.role == "training":
        return f"{seat.count} workers, {seat.strategy}" if seat.count > 1 else "1 worker"
    return f"{seat.count} x {seat.devices_each}" if made.hardware.gpu else str(seat.count)


def _learns(made: "Plan") -> str:
    lora = made.recipe.training.lora
    return f"LoRA, rank {lora.rank}" if lora else "full weights"


def _work_table(made: "Plan") -> Any:
    """A block for each round; rounds with the same work share one. Counts are of tokens, requests aside."""
    from itertools import groupby

    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("", no_wrap=True)
    of_devices = "GPU h" if made.hardware.gpu else "node h"
    money = ("cost",) if made.hardware.price is not None else ()
    for name in ("requests", "sent", "computed", "written", "time", of_devices, *money):
        table.add_column(name, justify="right", no_wrap=True)

    def row(name: str, counts: tuple[str, ...], seconds: float, device_seconds: float, **style: Any) -> None:
        hours = device_seconds / 3600
        cost = (_amount(hours * made.hardware.price),) if made.hardware.price is not None else ()
        table.add_row(name, *(counts or ("",) * 4), _duration(seconds), _amount(hours), *cost, **style)

    devices = made.hardware.devices
    row("initial policy", (), made.baseline_seconds, devices * made.baseline_seconds, end_section=True)
    for work, group in groupby(made.rounds, key=lambda entry: replace(entry.tokens, number=0)):
        rounds = list(group)
        last = rounds[-1]  # The first of a run samples without an adapter, and so a little faster.
        spent = last.device_seconds
        numbers = f"round {last.tokens.number}"
        if len(rounds) > 1:
            numbers = f"rounds {rounds[0].tokens.number}-{last.tokens.number}, each"
        row(f"[bold]{numbers}[/bold]", (), last.seconds, devices * last.seconds)
        row("  sample", _counts(work.sample), last.sample, spent.sample)
        for judge, tokens, seconds, on in zip(made.judges, work.judge, last.judge, spent.judge, strict=True):
            name = "  judge" if len(made.judges) == 1 else f"  {judge.name}"
            row(name, _counts(tokens), seconds, on)
        row("  train", _counts(work.train), last.train, spent.train)
        row("  evaluate", _counts(work.evaluate), last.evaluate, spent.evaluate)
        # Its time is the starts' alone; devices also wait while others work.
        row("  starts, waiting", (), last.starts, spent.idle, end_section=True)
    return table


def _counts(work: "Tokens") -> tuple[str, str, str, str]:
    return _short(work.requests), _short(work.sent), _short(work.computed), _short(work.written) if work.written else ""


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


def _as_json(made: "Plan") -> dict[str, Any]:
    value = asdict(made)
    value["recipe"] = made.recipe.name
    del value["hardware"]["assumptions"]
    for seat, entry in zip(made.seats, value["seats"], strict=True):
        entry["memory"]["total"] = seat.memory.total
        entry["devices"] = seat.devices
        entry["shape"]["parameters"] = seat.shape.parameters
    return value
