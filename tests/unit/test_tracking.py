"""Experiment trackers: each takes a run's points once and in order, over any number of starts, and never ends a run."""

import json
import os
import re
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest

from rlaif.io.files import write_bytes
from rlaif.recipe.tracking import TrackerSection
from rlaif.store.records.tracking_record import TrackingRecord
from rlaif.store.rundir import RunDir
from rlaif.tracking import feed
from rlaif.tracking.feed import Tracking, tracking_id
from rlaif.tracking.points import Point, RunPoints
from rlaif.tracking.tracker import TrackedRun, Tracker, open_tracker
from tests.unit.small_run import SmallRun

CONFIG = {"name": "small", "training": {"beta": 0.1}, "tracking": []}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return SmallRun(tmp_path / "small").run


def all_points(run: RunDir) -> list[Point]:
    points = RunPoints(run)
    points.read()
    return [point for number in range(1, 200) if (point := points.get(number)) is not None]


def test_points_follow_the_run_and_steps_grow_over_rounds(run: RunDir) -> None:
    points = all_points(run)
    assert [point.number for point in points] == list(range(1, len(points) + 1))
    steps = [point for point in points if point.axis == "train/step"]
    assert [point.at for point in steps] == list(range(1, len(steps) + 1))
    logs = [json.loads(Path(run.round(number).path("training.json")).read_text())["log"] for number in (0, 1)]
    assert [point.figures["train/loss"] for point in steps] == [entry["loss"] for log in logs for entry in log]
    assert {"train/margin", "train/accuracy", "train/grad_norm", "train/lr"} <= steps[0].figures.keys()
    first, pairs, outcome = points[0], points[1], points[len(logs[0]) + 2]
    assert (first.at, pairs.at, outcome.at) == (0, 1, 1)
    assert first.figures["heldout/score_low"] < first.figures["heldout/score"] < first.figures["heldout/score_high"]
    stages = run.round(0).record().stages
    assert stages.pairs is not None
    assert pairs.figures["pairs/pairs"] == stages.pairs.pairs
    assert pairs.figures["comparisons/ok"] == stages.pairs.by_status["ok"]
    assert outcome.figures["gate/passed"] == outcome.figures["gate/promoted"] == float(bool(stages.promote.promoted))  # type: ignore[union-attr]
    assert {"seconds/sample", "seconds/train", "seconds/evaluate"} <= outcome.figures.keys()


def test_points_of_a_run_in_an_object_store_are_the_same(run: RunDir) -> None:
    fsspec.filesystem("memory").put(run.root, "/tracked", recursive=True)
    stored = RunDir("memory://tracked")
    assert all_points(stored) == all_points(run)
    with Tracking(stored, [TrackerSection(name="tensorboard", uri=f"{run.root}/logs")], CONFIG, print):
        pass
    record, begun = TrackingRecord.read(stored.path("tracking.json")), stored.record()
    assert record is not None
    assert begun is not None
    assert record.trackers == {"tensorboard": f"{run.root}/logs/{tracking_id(begun)}"}


def unfinished(run: RunDir) -> tuple[list[dict[str, float]], Callable[[], None]]:
    """Take back the last round's training and what follows; returns its log, and what puts it back."""
    directory = run.round(1)
    manifest, training = Path(directory.path("manifest.json")), Path(directory.path("training.json"))
    whole, log = manifest.read_text(), training.read_text()
    left = json.loads(whole)
    for stage in ("train", "evaluate", "promote"):
        del left["stages"][stage]
    manifest.write_text(json.dumps(left))
    training.unlink()

    def finish() -> None:
        # Whole, as a run writes them: the trackers' thread may read at any time.
        write_bytes(str(training), log.encode())
        write_bytes(str(manifest), whole.encode())

    return json.loads(log)["log"], finish


class Held:
    """A tracker in memory that outlives the starts of a run."""

    address = "memory"

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.ends: list[bool] = []
        self.last = 0
        self.arrived = threading.Condition()

    def log(self, point: Point) -> None:
        with self.arrived:
            self.points.append(point)
            self.arrived.notify_all()

    def close(self, finished: bool) -> None:
        self.ends.append(finished)

    def wait_for(self, count: int) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.points) >= count, 20)


def test_a_step_that_a_resumed_training_repeats_is_one_point(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = all_points(run)
    log, finish = unfinished(run)
    before = len(all_points(run))
    held = Held()
    monkeypatch.setattr(feed, "open_tracker", lambda section, known: held)
    wandb = [TrackerSection(name="wandb")]
    tracking = Tracking(run, wandb, CONFIG, print).__enter__()
    for entry in log[:3]:
        tracking.on_step(1, entry)
    held.wait_for(before + 3)
    tracking.__exit__(KeyboardInterrupt, None, None)
    held.last = len(held.points)
    with Tracking(run, wandb, CONFIG, print) as tracking:
        for entry in log[1:]:
            tracking.on_step(1, entry)
        held.wait_for(before + len(log))
        finish()
    assert held.points == expected
    assert held.ends == [False, True]


def test_steps_that_a_tracker_missed_are_sent_once_the_training_has_ended(
    run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = all_points(run)
    log, finish = unfinished(run)
    held = Held()
    monkeypatch.setattr(feed, "open_tracker", lambda section, known: held)
    with Tracking(run, [TrackerSection(name="wandb")], CONFIG, print) as tracking:
        for entry in log[4:]:
            tracking.on_step(1, entry)
        finish()
    assert held.points == expected


def test_a_tracker_that_fails_is_named_once_and_the_others_go_on(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(Held):
        def log(self, point: Point) -> None:
            raise ConnectionError("no route to host\nsecond line")

    trackers: dict[str, Held] = {"wandb": Failing(), "tensorboard": Held()}
    said: list[str] = []
    monkeypatch.setattr(feed, "open_tracker", lambda section, known: trackers[section.name])
    with Tracking(run, [TrackerSection(name="wandb"), TrackerSection(name="tensorboard")], CONFIG, said.append):
        pass
    assert said == ["tracking: wandb failed and gets nothing more in this start: no route to host"]
    assert len(trackers["tensorboard"].points) == len(all_points(run))


def test_a_tracker_that_hangs_is_named_and_does_not_hold_the_run(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "_GOODBYE_SECONDS", 0.1)
    over = threading.Event()
    monkeypatch.setattr(feed, "open_tracker", lambda section, known: over.wait(30))
    said: list[str] = []
    with Tracking(run, [TrackerSection(name="mlflow")], CONFIG, said.append):
        pass
    over.set()
    assert said[0].startswith("tracking: mlflow has not taken all points")


def test_a_run_that_begins_anew_under_its_name_has_another_id(run: RunDir) -> None:
    record = run.record()
    assert record is not None
    assert tracking_id(record) == tracking_id(record.model_copy(update={"state": "failed"}))
    assert tracking_id(record) != tracking_id(record.model_copy(update={"created": "2026-02-01"}))


# The trackers themselves. W&B and TensorBoard are in the extra `dev`; the others are tested where they are installed.


@pytest.fixture
def known(run: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrackedRun:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    record = run.record()
    assert record is not None
    return TrackedRun(tracking_id(record), record.name, run.root, {**CONFIG, "judge": {"name": "finance-panel"}})


Read = Callable[[TrackedRun], dict[tuple[str, int], list[float]]]


def read_tensorboard(known: TrackedRun) -> dict[tuple[str, int], list[float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(f"{known.root}/tensorboard", size_guidance={"scalars": 0})
    events.Reload()
    (recipe,) = events.Tensors("recipe")
    assert b"finance-panel" in recipe.tensor_proto.string_val[0]
    found: dict[tuple[str, int], list[float]] = {}
    for tag in events.Tags()["scalars"]:
        for event in events.Scalars(tag):
            found.setdefault((tag, event.step), []).append(event.value)
    return found


def read_mlflow(known: TrackedRun) -> dict[tuple[str, int], list[float]]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{known.root}/mlflow.db")
    experiment = client.get_experiment_by_name("rlaif")
    (opened,) = client.search_runs([experiment.experiment_id])
    assert opened.info.run_name == known.name
    assert opened.data.params["judge.name"] == "finance-panel"
    found: dict[tuple[str, int], list[float]] = {}
    for name in opened.data.metrics:
        for metric in client.get_metric_history(opened.info.run_id, name):
            found.setdefault((name, metric.step), []).append(metric.value)
    return found


@pytest.mark.parametrize(("name", "read"), [("tensorboard", read_tensorboard), ("mlflow", read_mlflow)])
def test_a_tracker_of_steps_holds_each_point_once_over_two_starts(
    name: Any, read: Read, run: RunDir, known: TrackedRun
) -> None:
    pytest.importorskip(name)
    section = TrackerSection(name=name, uri=f"sqlite:///{run.root}/mlflow.db" if name == "mlflow" else None)
    expected = all_points(run)
    for start in (0, 5):
        tracker = open_tracker(section, known)
        assert tracker.last == start
        for point in expected[start : 5 if start == 0 else None]:
            tracker.log(point)
        # The first start is killed.
        if start:
            tracker.close(True)
    found = read(known)
    assert Counter({key: len(values) for key, values in found.items()}) == Counter(
        (name, point.at) for point in expected for name in point.figures
    )
    for point in expected:
        for name_, value in point.figures.items():
            assert found[name_, point.at] == [pytest.approx(value, rel=1e-5)]


def test_tensorboard_goes_on_behind_an_event_that_a_kill_cut_off(run: RunDir, known: TrackedRun) -> None:
    pytest.importorskip("tensorboard")
    section = TrackerSection(name="tensorboard")
    first = open_tracker(section, known)
    for point in all_points(run)[:5]:
        first.log(point)
    (file,) = Path(first.address).glob("events.*")
    os.truncate(file, file.stat().st_size - 3)
    assert open_tracker(section, known).last == 4


def test_tensorboards_folder_holds_each_of_two_runs_of_one_name(run: RunDir, known: TrackedRun, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    section = TrackerSection(name="tensorboard", uri=str(tmp_path / "logs"))
    open_tracker(section, known).log(all_points(run)[0])
    assert open_tracker(section, known).last == 1
    assert open_tracker(section, replace(known, id=f"{known.name}-anew")).last == 0


def test_wandb_offline_writes_the_whole_run_in_each_start(run: RunDir, known: TrackedRun, tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    expected = all_points(run)
    for _ in range(2):
        with Tracking(run, [TrackerSection(name="wandb", project="ours")], known.config, print):
            pass
    starts = sorted(tmp_path.glob("wandb/offline-run-*"))
    assert starts
    record = TrackingRecord.read(run.path("tracking.json"))
    assert record is not None
    assert record.id == known.id
    # W&B numbers the folders of two starts in one second.
    assert re.fullmatch(rf"offline-run-\d+_\d+-{known.id}(-\d+)?", Path(record.trackers["wandb"]).name)
    for start in starts:
        history, config, name = read_wandb(start / f"run-{known.id}.wandb")
        assert name == ("small", "ours")
        assert config["training"] == {"beta": 0.1}
        assert [step for step, _ in history] == [point.number for point in expected]
        for (_, row), point in zip(history, expected, strict=True):
            assert row.items() >= {**point.figures, point.axis: point.at}.items()


def read_wandb(file: Path) -> tuple[list[tuple[int, dict[str, Any]]], dict[str, Any], tuple[str, str]]:
    """Return the history of an offline run, its configuration, and its name and project."""
    from wandb.proto.wandb_internal_pb2 import Record

    history: list[tuple[int, dict[str, Any]]] = []
    config: dict[str, Any] = {}
    name = ("", "")
    for data in leveldb_records(file.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        if record.HasField("run"):
            name = (record.run.display_name, record.run.project)
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        if record.HasField("history"):
            row = {(item.key or item.nested_key[0]): json.loads(item.value_json) for item in record.history.item}
            history.append((record.history.step.num, row))
    return history, config, name


def leveldb_records(data: bytes) -> Iterator[bytes]:
    """Yield the records of a LevelDB log with a header of 7 bytes, in which a block has 32 KiB."""
    place, parts = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # A whole record, or the last part of one.
            yield parts
            parts = b""


@pytest.fixture
def trackio_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    return tmp_path / "trackio"


def test_trackio_goes_on_behind_its_last_point(
    run: RunDir, known: TrackedRun, trackio_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("trackio")
    expected = all_points(run)
    for start in (0, 5):
        tracker: Tracker = open_tracker(TrackerSection(name="trackio"), known)
        assert tracker.last == start
        for point in expected[start : 5 if start == 0 else None]:
            tracker.log(point)
        tracker.close(True)
    from trackio.sqlite_storage import SQLiteStorage

    rows = SQLiteStorage.get_logs("rlaif", known.id)
    assert [row["step"] for row in rows] == [point.number for point in expected]
    for row, point in zip(rows, expected, strict=True):
        assert row.items() >= {**point.figures, point.axis: point.at}.items()
    assert not capsys.readouterr().out
