"""`rlaif plan`: placement, memory, tokens, time and money of a run, with nothing started."""

from typing import Annotated

import typer

from rlaif.cli.options import Cluster, Json, Overrides, Recipe


def plan(
    recipe: Recipe,
    set_: Overrides = None,
    cluster: Cluster = None,
    address: Annotated[
        str | None,
        typer.Option(help="Plan for the machines of a Ray cluster: its dashboard, such as http://HEAD:8265."),
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(min=1, help="Number of GPUs; as many as the recipe needs if left out.")
    ] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Number of machines.")] = None,
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
        float | None, typer.Option("--price-per-gpu-hour", min=0, help="Price of a GPU (or a CPU node) per hour.")
    ] = None,
    questions: Annotated[
        int | None, typer.Option(min=1, help="Number of training questions, instead of the number found.")
    ] = None,
    prompt_tokens: Annotated[
        int | None, typer.Option(min=1, help="Mean tokens of a prompt, instead of the measured mean.")
    ] = None,
    answer_tokens: Annotated[int | None, typer.Option(min=1, help="Mean tokens of an answer.")] = None,
    json_: Json = False,
) -> None:
    """Show where a recipe's engines and workers go, and the memory, tokens, time and money that a run needs."""
    from rlaif.planning.hardware import HardwareOptions
    from rlaif.planning.plan import PlanOptions, make_plan
    from rlaif.planning.plan_view import plan_json, plan_view
    from rlaif.recipe import load_recipe

    hardware = HardwareOptions(gpus, nodes, gpu_type, gpu_memory, host_memory, tflops, bandwidth, price)
    if address is not None:
        from rlaif.jobs.ray_head import nodes as live_nodes
        from rlaif.planning.ray_nodes import hardware_of

        hardware = hardware_of(live_nodes(address), hardware, address)
    made = make_plan(load_recipe(recipe, set_, cluster), PlanOptions(hardware, questions, prompt_tokens, answer_tokens))
    if json_:
        import json

        typer.echo(json.dumps(plan_json(made), indent=2))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for part in plan_view(made):
        console.print(part)
