"""A run that is killed at any moment and started again ends like an undisturbed one."""

import hashlib
import json
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.e2e import command


def events(run: Path) -> list[dict[str, object]]:
    path = run / "events.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def began(stage: str, number: int | None) -> Callable[[Path], bool]:
    return lambda run: any(
        event["event"] == "stage_started" and event["stage"] == stage and event["round"] == number
        for event in events(run)
    )


def exists(pattern: str) -> Callable[[Path], bool]:
    return lambda run: bool(list(run.glob(pattern)))


# The state to wait for, and the seconds from there to the kill.
MOMENTS: list[tuple[str, Callable[[Path], bool], float]] = [
    ("evaluating the initial policy", began("evaluate", None), 1.0),
    ("gathering demonstrations", began("gather", 0), 0.0),
    ("training on demonstrations", began("train", 0), 3.0),
    ("saving the trained policy", exists("round-000/policy"), 0.0),
    ("promoting", began("promote", 1), 0.0),
    ("sampling, with a shard committed", exists("round-002/candidates/part-00000.parquet"), 0.0),
    ("pairing", began("pairs", 2), 0.0),
    ("training on preferences", began("train", 2), 12.0),
    ("judging, with a shard committed", exists("round-003/verdicts/part-00001.parquet"), 0.0),
    ("training by policy gradients", began("train", 3), 12.0),
]


def rows(run: Path, number: int, table: str, columns: list[str]) -> list[tuple[object, ...]]:
    found = []
    for path in sorted(run.glob(f"round-{number:03d}/{table}")):
        found += [tuple(row[column] for column in columns) for row in pq.read_table(path, columns=columns).to_pylist()]
    return found


def policy(run: Path, number: int) -> str:
    found: str = json.loads((run / f"round-{number:03d}" / "policy.json").read_text(encoding="utf-8"))["id"]
    return found


def committed(run: Path) -> dict[str, str]:
    shards = [*run.glob("round-*/candidates/part-*.parquet"), *run.glob("round-*/verdicts/part-*.parquet")]
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in shards}


@pytest.mark.timeout(1500)
def test_killed_at_ten_moments_ends_like_an_undisturbed_run(finished_phases: Path, tmp_path: Path) -> None:
    run = tmp_path / "phases"
    paid: dict[str, str] = {}
    for name, reached, later in MOMENTS:
        process = command.start("run", str(command.PHASES), "--runs", str(tmp_path))
        assert command.wait_until(lambda reached=reached: reached(run), process, 600), f"{name}: never reached"
        time.sleep(later)
        process.send_signal(signal.SIGKILL)
        process.wait()
        # Files committed at an earlier kill are unchanged to the byte: neither lost nor made again.
        now = committed(run)
        assert paid.items() <= now.items(), name
        paid = now
    done = command.run("run", str(command.PHASES), "--runs", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resuming" in done.stdout
    assert paid.items() <= committed(run).items()
    for number in range(4):
        sampled = rows(run, number, "candidates/*.parquet", ["prompt_id", "candidate"])
        assert len(sampled) == len(set(sampled)), "a candidate is stored twice"
        asked = Counter(rows(run, number, "verdicts/*.parquet", ["prompt_id", "judge", "first", "second", "order"]))
        assert set(asked.values()) <= {1}, "a comparison was judged twice"
        for table, columns in (
            ("candidates/*.parquet", ["prompt_id", "candidate", "seed"]),
            ("demonstrations.parquet", ["id"]),
            ("pairs.parquet", ["pair_id"]),
            ("rollouts.parquet", ["rollout_id"]),
        ):
            assert sorted(rows(run, number, table, columns)) == sorted(rows(finished_phases, number, table, columns))
    # What each round has learned does not depend on the kills, to the last bit.
    assert [policy(run, number) for number in range(4)] == [policy(finished_phases, number) for number in range(4)]
    assert sum(event["event"] == "resume" for event in events(run)) == len(MOMENTS)
    tracked = tracked_points(run)
    assert set(tracked.values()) == {1}, "a tracker holds a point twice"
    # A kill between a stage's mark and the event of its end leaves its seconds unknown.
    assert measured(tracked) == measured(tracked_points(finished_phases))


def measured(points: Counter[tuple[str, int]]) -> set[tuple[str, int]]:
    return {(tag, step) for tag, step in points if not tag.startswith("seconds/")}


def tracked_points(run: Path) -> Counter[tuple[str, int]]:
    """Count the figures that TensorBoard holds of a run, by tag and step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return Counter((tag, event.step) for tag in events.Tags()["scalars"] for event in events.Scalars(tag))


def test_an_interrupted_run_says_how_to_continue(tmp_path: Path) -> None:
    run = tmp_path / "small"
    process = command.start("run", str(command.RECIPE), "--runs", str(tmp_path))
    command.wait_until(lambda: exists("round-000/candidates/part-00000.parquet")(run), process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "The same command resumes it" in errors
    assert "Traceback" not in errors
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["state"] == "interrupted"
    # Candidates that do not fill a shard are committed before the exit.
    assert not list(run.rglob("*.tmp"))
