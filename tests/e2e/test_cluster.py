"""Runs on Ray clusters of several nodes, each a real raylet, that lose nodes during the run."""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import ray
from ray.cluster_utils import Cluster

from tests.e2e import command

# An engine and a training worker take a CPU each, so that none shares a node of one CPU with another.
SPLIT = [
    "--set",
    "cluster.placement=split",
    "--set",
    "cluster.policy.threads=1",
]


def events(run: Path) -> list[dict[str, Any]]:
    path = run / "events.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def table(run: Path, pattern: str) -> list[dict[str, Any]]:
    return [row for path in sorted(run.glob(pattern)) for row in pq.read_table(path).to_pylist()]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head without CPUs; the test adds the nodes."""
    ray.shutdown()
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        yield started
    finally:
        started.shutdown()


class Watcher:
    """Finds the nodes of a run's actors in the cluster's own table."""

    def __init__(self, cluster: Cluster) -> None:
        from ray._private.state import GlobalState
        from ray._raylet import GcsClientOptions

        self._cluster, self._state = cluster, GlobalState()
        options = GcsClientOptions.create(
            cluster.address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=False
        )
        self._state._initialize_global_state(options)

    def node_of(self, actor: str) -> Any:
        """Return the cluster's node on which a living actor of a class runs, None while no such actor runs."""
        ids = {
            row["Address"]["NodeID"]
            for row in self._state.actor_table(None).values()
            if row["State"] == "ALIVE" and row["ActorClassName"] == actor
        }
        return next((node for node in self._cluster.list_all_nodes() if node.node_id in ids), None)


def start(cluster: Cluster, runs: Path, *settings: str) -> "subprocess.Popen[str]":
    words = ["run", str(command.RECIPE), "--runs", str(runs), "--address", cluster.address, *settings]
    return command.start(*words)


def wait(process: "subprocess.Popen[str]", reached: Callable[[], Any], seconds: float = 240) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := reached()):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise AssertionError("".join(process.communicate()))
        time.sleep(0.2)
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_loses_a_node_in_sampling_and_one_in_training(cluster: Cluster, tmp_path: Path) -> None:
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    # Long enough for the test to see a training at work, with a checkpoint to continue from.
    long = ["--set", "training.epochs=12", "--set", "training.checkpoint_steps=2"]
    process = start(cluster, tmp_path, *SPLIT, *long)
    run = tmp_path / "small"

    wait(process, lambda: list(run.glob("round-000/candidates/part-*.parquet")))
    watcher = Watcher(cluster)
    engine = wait(process, lambda: watcher.node_of("EngineActor"))
    cluster.remove_node(engine, allow_graceful=False)
    # The other node is the trainer's, so the engine waits for one more.
    wait(process, lambda: any(event["event"] == "waiting" for event in events(run)))
    cluster.add_node(num_cpus=1)

    wait(process, lambda: list(run.glob("round-000/training/checkpoint-*/trainer_state.json")))
    trainer = wait(process, lambda: watcher.node_of("RayTrainWorker"))
    assert trainer is not watcher.node_of("EngineActor")
    cluster.remove_node(trainer, allow_graceful=False)
    cluster.add_node(num_cpus=1)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, output + errors

    for number in (0, 1):
        asked = Counter(row["prompt_id"] for row in table(run, f"round-{number:03d}/candidates/*.parquet"))
        assert len(asked) == 6
        assert set(asked.values()) == {4}
    counts = Counter(event["event"] for event in events(run))
    assert counts["engine_lost"] >= 1
    assert counts["waiting"] >= 1
    assert counts["training_lost"] == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_samples_the_next_round_while_this_one_trains(cluster: Cluster, tmp_path: Path) -> None:
    for _ in range(3):
        cluster.add_node(num_cpus=1)
    settings = ["--set", "rounds.staleness=1", "--set", "cluster.policy.engines=2"]
    # Enough candidates and tokens that the initial policy is sometimes right and makes pairs.
    settings += ["--set", "sampling.candidates=6", "--set", "sampling.max_tokens=40"]
    process = start(cluster, tmp_path, *SPLIT, *settings)
    output, errors = process.communicate(timeout=500)
    assert process.returncode == 0, output + errors

    run = tmp_path / "small"
    when = {
        (event["event"], event["stage"], event["round"]): event["time"]
        for event in events(run)
        if event["event"] in ("stage_started", "stage_done")
    }
    assert when["stage_started", "train", 0] <= when["stage_started", "sample", 1] < when["stage_done", "train", 0]
    # The second round's candidates are the initial policy's, and so is the reference of its pairs.
    initial = json.loads((run / "run.json").read_text(encoding="utf-8"))["policy"]["id"]
    sampled = table(run, "round-001/candidates/*.parquet")
    assert {row["policy"] for row in sampled} == {initial}
    logps = {(row["prompt_id"], row["candidate"]): sum(row["logprobs"]) for row in sampled}
    pairs = table(run, "round-001/pairs.parquet")
    assert pairs
    for pair in pairs:
        assert pair["policy"] == initial
        assert pair["ref_chosen_logp"] == pytest.approx(logps[pair["prompt_id"], pair["chosen_candidate"]])
    training = json.loads((run / "round-001" / "training.json").read_text(encoding="utf-8"))
    assert (training["reference_logps"], training["mismatch"]) == ("engine", None)


def test_a_missing_head_is_named_by_its_address(tmp_path: Path) -> None:
    done = command.run("run", str(command.RECIPE), "--address", "127.0.0.1:1", "--runs", str(tmp_path))
    assert done.returncode == 2
    assert "no Ray cluster answers at 127.0.0.1:1" in done.stderr
