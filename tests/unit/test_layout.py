"""The placement of a plan on described nodes and on those of a Ray cluster, and its hours and money."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.errors import UserError
from rlaif.models.shape import published_shape
from rlaif.planning.hardware import GPU_TYPES, Hardware, HardwareOptions, describe_hardware, hardware_of
from rlaif.planning.memory import GIB, Memory
from rlaif.planning.node_layout import NodeLayout, lay_out
from rlaif.planning.plan import Plan, PlanOptions, make_plan
from rlaif.planning.seats import Role, Seats
from rlaif.recipe import load_recipe

LLAMA = published_shape("meta-llama/Llama-3.1-8B-Instruct", "offline")


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def plan(*overrides: str, **hardware: Any) -> Plan:
    return make_plan(load_recipe("llama-8b-8gpu", list(overrides)), PlanOptions(HardwareOptions(**hardware)))


def uses(layout: NodeLayout | None) -> list[tuple[int, dict[str, int], int]]:
    assert layout is not None
    return [(use.gpus, {share.role: share.count for share in use.engines}, use.workers) for use in layout.nodes]


def test_one_node_holds_all() -> None:
    assert uses(plan().layout) == [(8, {"policy": 4, "judge": 4}, 8)]


def test_an_engine_too_large_for_a_node_is_reported_to_span() -> None:
    made = plan(gpus=8, nodes=2)
    assert uses(made.layout) == [(4, {"policy": 2, "judge": 2}, 4)] * 2
    assert made.layout is not None
    assert [(share.role, share.count) for share in made.layout.spanning] == [("judge", 1)]
    assert any("cluster.judge: an engine spans several nodes" in line for line in made.assumptions)


def test_an_engine_has_one_node_if_one_has_room() -> None:
    made = plan(gpus=16, nodes=2)
    assert made.layout is not None
    assert made.layout.spanning == ()
    assert [engines.get("judge", 0) for _, engines, _ in uses(made.layout)] in ([4, 0], [0, 4])


def test_split_gives_engines_and_workers_gpus_of_their_own() -> None:
    made = plan("cluster.placement=split", gpus=16, nodes=2)
    for gpus, engines, workers in uses(made.layout):
        assert sum(engines.values()) + workers <= gpus
    assert sum(workers for _, _, workers in uses(made.layout)) == 8


def seats(role: Role, count: int, each: int) -> Seats:
    return Seats(role, role, LLAMA, count, each, "", Memory(), 0, 2)


@given(
    st.lists(st.integers(1, 8), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(1, 6), st.sampled_from([1, 2, 4, 8])), max_size=3),
    st.integers(1, 30),
)
def test_every_requested_gpu_is_placed_once(nodes: list[int], pools: list[tuple[int, int]], workers: int) -> None:
    engines = [seats("judge", count, each) for count, each in pools]
    wanted = sum(seat.devices for seat in engines)
    base = describe_hardware(HardwareOptions(gpus=1), True, 1)
    hardware: Hardware = replace(base, gpus_of_nodes=tuple(sorted(nodes, reverse=True)))
    if wanted > sum(nodes) or workers > sum(nodes):
        return
    layout = lay_out([*engines, seats("training", workers, 1)], "shared", hardware)
    assert sum(share.count for use in layout.nodes for share in use.engines) == wanted
    assert sum(use.workers for use in layout.nodes) == workers
    for use in layout.nodes:
        assert sum(share.count for share in use.engines) <= use.gpus
        assert use.workers <= use.gpus


def test_a_round_costs_as_much_as_its_stages_and_its_waiting() -> None:
    for made in (plan(price=2.5), plan("cluster.placement=split"), plan("training.lora=null", price=1.0)):
        for entry in made.rounds:
            spent = entry.device_seconds
            total = spent.sample + sum(spent.judge) + spent.train + spent.evaluate + spent.idle
            assert total == pytest.approx(made.hardware.devices * entry.seconds)
            assert spent.idle >= 0


GPU_NODE = {"CPU": 96.0, "GPU": 8.0, "memory": 1e12, "accelerator_type:H100": 1.0}
HEAD = {"CPU": 16.0, "memory": 64.0 * GIB}


def test_the_hardware_is_read_from_a_ray_cluster() -> None:
    options = hardware_of([HEAD, GPU_NODE, {**GPU_NODE, "GPU": 4.0}], HardwareOptions(), "http://head:8265")
    assert (options.gpus, options.nodes, options.gpus_of_nodes, options.gpu_type) == (12, 2, (8, 4), "h100")
    hardware = describe_hardware(options, True, 8)
    assert hardware.gpus_of_nodes == (8, 4)
    assert any("http://head:8265: 12 GPUs (h100)" in line for line in hardware.assumptions)


def test_options_override_the_cluster() -> None:
    options = hardware_of([GPU_NODE], HardwareOptions(gpus=4, gpu_type="a100-80gb"), "http://head:8265")
    assert (options.gpus, options.gpus_of_nodes, options.gpu_type) == (4, (), "a100-80gb")


def test_a_cluster_without_gpus_is_planned_by_its_smallest_node() -> None:
    options = hardware_of([HEAD, {"CPU": 4.0, "memory": 8.0 * GIB}], HardwareOptions(), "http://head:8265")
    assert (options.nodes, options.cores, options.host_memory, options.gpus) == (2, 4, 8.0, None)
    assert describe_hardware(options, False, 0).cores == 4


@pytest.mark.parametrize(
    ("nodes", "said", "names"),
    [
        ([], {}, "no live nodes"),
        ([{**GPU_NODE, "accelerator_type:L4": 1.0}], {}, "--gpu-type"),
        ([{"GPU": 2.0, "accelerator_type:T4": 1.0}], {"gpu_memory": 15.0}, "--tflops"),
    ],
)
def test_unknown_hardware_is_asked_for(nodes: list[dict[str, float]], said: dict[str, float], names: str) -> None:
    with pytest.raises(UserError, match=names):
        hardware_of(nodes, HardwareOptions(**said), "http://head:8265")  # type: ignore[arg-type]


def test_every_gpu_of_the_table_is_known_by_the_name_that_ray_gives_it() -> None:
    """As in `ray.util.accelerators`; an A100 of either size is an A100 to Ray."""
    for name in ("H100", "H200", "L40S", "A10G", "L4"):
        assert hardware_of([{"GPU": 1.0, f"accelerator_type:{name}": 1.0}], HardwareOptions(), "").gpu_type in GPU_TYPES
    assert hardware_of([{"GPU": 1.0, "accelerator_type:A100": 1.0}], HardwareOptions(), "").gpu_type == "a100-40gb"


def test_sampling_ahead_costs_only_the_time_beyond_the_training() -> None:
    split = ["cluster.placement=split"]
    apart, ahead = plan(*split), plan(*split, "rounds.staleness=1")
    assert [entry.seconds for entry in apart.rounds] == [entry.seconds for entry in ahead.rounds]
    rounds = ahead.rounds
    sampling = [entry.seconds - entry.train - entry.evaluate - entry.starts for entry in rounds]
    saved = sum(min(sampling[k + 1], rounds[k].train + rounds[k].starts) for k in range(len(rounds) - 1))
    assert saved > 0
    assert ahead.seconds == pytest.approx(apart.seconds - saved)
