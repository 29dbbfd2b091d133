"""The store: files and shards whole or not at all, every question once, and a run that is found as it was left."""

import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.errors import UserError, WorkError, is_disk_full
from rlaif.io.files import (
    is_url,
    join,
    names,
    put_folder,
    read_bytes,
    read_json,
    whole_file,
    write_bytes,
    write_json,
)
from rlaif.store.events import EventLog, RunFinished, RunResumed, RunStarted, Waiting
from rlaif.store.records.round_records import STAGES, JudgeStage, RoundRecord, SampleStage
from rlaif.store.records.run_records import InitialPolicy, JudgeRecord, RunRecord
from rlaif.store.rundir import RunDir
from rlaif.store.schemas import CANDIDATES, FAILURES, PAIRS, VERDICTS
from rlaif.store.shards import ShardTable, read_table, write_table
from tests.full_disk import full_disk

SCHEMA = pa.schema([("prompt_id", pa.string()), ("n", pa.int32())])


@pytest.fixture(params=["disk", "object store"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder on a file system, and one in fsspec's object store in memory."""
    return str(tmp_path) if request.param == "disk" else f"memory://{uuid4().hex}"


def rows(*ids: str, each: int = 2) -> list[dict[str, Any]]:
    return [{"prompt_id": name, "n": n} for name in ids for n in range(each)]


def python(code: str) -> "subprocess.Popen[str]":
    """Start Python on code that reports its progress in lines; leaving the context waits for it."""
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)


def test_shards_are_read_in_their_order(root: str) -> None:
    folder = join(root, "table")
    table = ShardTable(folder, SCHEMA)
    assert table.prompt_ids() == set()
    assert table.append(rows("b", "a")) == "part-00000.parquet"
    assert table.append(rows("c")) == "part-00001.parquet"
    assert table.append([]) is None
    again = ShardTable(folder, SCHEMA)
    assert again.prompt_ids() == {"a", "b", "c"}
    assert again.rows() == 6
    assert dict(again.by_prompt()) == {name: rows(name) for name in "bac"}
    assert [shard["prompt_id"].to_pylist() for shard in again.shards()] == [["b", "b", "a", "a"], ["c", "c"]]
    # It numbers new shards after existing ones, whoever wrote them.
    assert again.append(rows("d")) == "part-00002.parquet"
    assert names(folder) == [f"part-0000{number}.parquet" for number in range(3)]


@given(st.lists(st.lists(st.integers(0, 10_000), min_size=1, max_size=5), max_size=6, unique_by=tuple))
def test_committed_rows_read_back(shards: list[list[int]]) -> None:
    table = ShardTable(f"memory://{uuid4().hex}", SCHEMA)
    written: dict[str, list[dict[str, Any]]] = {}
    for number, values in enumerate(shards):
        new = {f"{number}-{value}": rows(f"{number}-{value}", each=value % 3 + 1) for value in set(values)}
        table.append([row for part in new.values() for row in part])
        written |= new
    assert dict(ShardTable(table.folder, SCHEMA).by_prompt()) == written


def test_a_question_in_two_shards_is_refused(root: str) -> None:
    table = ShardTable(root, SCHEMA)
    table.append(rows("a", "b"))
    table.append(rows("c", "b"))
    with pytest.raises(WorkError, match=r"part-00001\.parquet: question b is also in an earlier shard"):
        table.prompt_ids()


def test_leftovers_of_an_interrupted_write_are_not_a_shard(tmp_path: Path) -> None:
    table = ShardTable(str(tmp_path), SCHEMA)
    table.append(rows("a"))
    (tmp_path / ".part-00001.parquet.4711.tmp").write_bytes(b"PAR1 half a shard")
    again = ShardTable(str(tmp_path), SCHEMA)
    assert again.prompt_ids() == {"a"}
    assert again.append(rows("b")) == "part-00001.parquet"
    assert again.prompt_ids() == {"a", "b"}


@pytest.mark.parametrize("schema", [CANDIDATES, FAILURES, VERDICTS, PAIRS], ids=["cand", "fail", "verd", "pairs"])
def test_a_shard_has_the_schema_of_its_table_whatever_its_rows_leave_out(tmp_path: Path, schema: pa.Schema) -> None:
    """Shards of one table always concatenate, even if a whole column of one is null."""
    table = ShardTable(str(tmp_path), schema)
    table.append([{"prompt_id": "a"}])
    assert pq.read_schema(tmp_path / "part-00000.parquet").equals(schema)


@pytest.mark.parametrize("left", [0, 3, 40, 0.5, 0.99])
def test_a_damaged_shard_is_named_and_not_read_as_empty(tmp_path: Path, left: float) -> None:
    """Its rows were paid for and other tables refer to them, so skipping it silently would be worse."""
    table = ShardTable(str(tmp_path), SCHEMA)
    for name in ("a", "b"):
        table.append(rows(name))
    part = tmp_path / "part-00001.parquet"
    data = part.read_bytes()
    part.write_bytes(data[: left if isinstance(left, int) else int(left * len(data))])
    with pytest.raises(WorkError, match=r"part-00001\.parquet: damaged: .+$"):
        ShardTable(str(tmp_path), SCHEMA).prompt_ids()


def test_a_row_of_the_wrong_type_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    table = ShardTable(str(tmp_path / "table"), SCHEMA)
    with pytest.raises((pa.ArrowException, ValueError, TypeError)):
        table.append([{"prompt_id": "a", "n": "many"}])
    assert names(str(tmp_path / "table")) == []
    assert table.append(rows("a")) == "part-00000.parquet"


def test_a_killed_writer_leaves_only_whole_shards(tmp_path: Path) -> None:
    """After a SIGKILL at any moment the shards are readable, with each question once and all that was reported."""
    code = f"""
        import pyarrow as pa
        from rlaif.store.shards import ShardTable
        table = ShardTable({str(tmp_path)!r}, pa.schema([("prompt_id", pa.string()), ("n", pa.int32())]))
        for number in range(10_000):
            table.append([{{"prompt_id": f"{{number}}-{{i}}", "n": i}} for i in range(200)])
            print(number, flush=True)
    """
    for wanted in (1, 7, 23):
        with python(code) as child:
            assert child.stdout is not None
            reported = [child.stdout.readline().strip() for _ in range(wanted)]
            child.kill()
            reported += child.stdout.read().split()
        table = ShardTable(str(tmp_path), SCHEMA)
        parts = names(str(tmp_path), ".parquet")
        assert len(parts) >= len(reported)
        assert len(table.prompt_ids()) == table.rows() == 200 * len(parts)
        for part in parts:
            (tmp_path / part).unlink()


def test_a_block_that_fails_leaves_the_old_file(root: str) -> None:
    target = join(root, "file.txt")
    write_bytes(target, b"old")

    def write() -> None:
        with whole_file(target) as temporary:
            temporary.write_bytes(b"half of the ne")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write()
    assert read_bytes(target) == b"old"
    assert names(root) == ["file.txt"]
    if not is_url(root):
        assert os.listdir(root) == ["file.txt"]


def test_a_full_disk_is_named_and_existing_files_are_kept(tmp_path: Path) -> None:
    table, log = ShardTable(str(tmp_path / "table"), SCHEMA), EventLog(str(tmp_path / "events.jsonl"))
    table.append(rows("a"))
    write_bytes(str(tmp_path / "file"), b"old")
    log.append(RunStarted())
    writes: list[tuple[str, Callable[[], object]]] = [
        ("table/part-00001.parquet", lambda: table.append(rows("b", each=1000))),
        ("file", lambda: write_bytes(str(tmp_path / "file"), b"new" * 1000)),
        ("events.jsonl", lambda: log.append(Waiting(message="x" * 1000))),
    ]
    for name, write in writes:
        with full_disk(300), pytest.raises(OSError, match=f"{name}") as refused:
            write()
        assert is_disk_full(refused.value)
    assert table.append(rows("c")) == "part-00001.parquet"
    assert ShardTable(table.folder, SCHEMA).prompt_ids() == {"a", "c"}
    assert read_bytes(str(tmp_path / "file")) == b"old"
    log.append(RunResumed())
    assert [event.event for event in log.read()] == ["begin", "resume"]


def test_a_failed_write_of_a_table_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").write_bytes(b"a file where a folder should be")
    with pytest.raises(OSError) as refused:  # noqa: PT011  # Which one is asserted below.
        write_table(str(tmp_path / "folder" / "t.parquet"), pa.Table.from_pylist(rows("a"), schema=SCHEMA))
    assert refused.value.errno in (errno.ENOTDIR, errno.EEXIST)
    write_table(str(tmp_path / "t.parquet"), pa.Table.from_pylist(rows("a"), schema=SCHEMA))
    assert read_table(str(tmp_path / "t.parquet"), columns=["n"]).to_pylist() == [{"n": 0}, {"n": 1}]


def test_a_missing_file_is_none(root: str) -> None:
    assert read_bytes(join(root, "x")) is None
    assert read_json(join(root, "a", "x.json")) is None
    assert names(join(root, "a")) == []


def test_json_reads_back(root: str) -> None:
    value = {"name": "Umlauf-Ergebnis ä €", "parts": [1, 2.5, None, True]}
    write_json(join(root, "a", "b", "x.json"), value)
    assert read_json(join(root, "a", "b", "x.json")) == value


def test_a_folder_is_put_whole_and_replaces_an_older_one(root: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "model.safetensors").write_bytes(b"1")
    os.chmod(source / "model.safetensors", 0o600)
    put_folder(str(source), join(root, "round", "policy"))
    (source / "model.safetensors").write_bytes(b"2")
    put_folder(str(source), join(root, "round", "policy"))
    assert read_bytes(join(root, "round", "policy", "model.safetensors")) == b"2"
    assert names(join(root, "round")) == ["policy"]
    if not is_url(root):
        # Others must be able to read a policy, even if the trainer's scratch files are private.
        mode = (Path(root) / "round" / "policy" / "model.safetensors").stat().st_mode
        assert mode & 0o077 == 0o066 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_path_of_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(UserError, match=r"^gopher://x/y: .*gopher"):
        read_bytes("gopher://x/y")


def test_stages_are_marked_with_their_counts(root: str) -> None:
    directory = RunDir(root).round(3)
    assert not any(directory.done(stage) for stage in STAGES)
    assert directory.record() == RoundRecord(round=3)
    directory.mark(SampleStage(policy="p", questions=8, failed=0, candidates=32))
    directory.mark(JudgeStage(verdicts=24))
    again = RunDir(root).round(3)
    assert [stage for stage in STAGES if again.done(stage)] == ["sample", "judge"]
    stages = again.record().stages
    assert stages.sample is not None
    assert stages.judge is not None
    assert (stages.sample.policy, stages.sample.questions, stages.judge.verdicts) == ("p", 8, 24)
    assert again.record().promoted is None


def test_a_run_knows_its_rounds_and_its_state(root: str) -> None:
    run = RunDir(root)
    assert run.record() is None
    assert run.recipe_text() is None
    assert run.rounds() == []
    record = RunRecord(
        name="x", rlaif="0", created="2026", versions={}, git=None, seed=0, state="running", questions={},
        policy=InitialPolicy(model="m", id="i", template="t", template_sha="s"),
        judge=JudgeRecord(name="j", kind="reference", sha="s", tolerance=0.1),
    )  # fmt: skip
    run.write_record(record)
    run.write_recipe("name: ä\n")
    run.set_state("failed")
    for number in (10, 2):
        run.round(number).mark(JudgeStage(verdicts=0))
    assert RunDir(root).record() == record.model_copy(update={"state": "failed"})
    assert RunDir(root).recipe_text() == "name: ä\n"
    assert [directory.number for directory in RunDir(root).rounds()] == [2, 10]


def test_a_second_driver_is_kept_out(tmp_path: Path) -> None:
    run = RunDir(str(tmp_path / "run"))
    with run.lock(), pytest.raises(UserError, match="another process is running this run"), run.lock():
        pass
    with run.lock():
        pass


def test_the_lock_of_a_killed_driver_is_released(tmp_path: Path) -> None:
    code = f"""
        import time
        from rlaif.store.rundir import RunDir
        with RunDir({str(tmp_path)!r}).lock():
            print("held", flush=True)
            time.sleep(60)
    """
    with python(code) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(UserError), RunDir(str(tmp_path)).lock():
            pass
        child.kill()
    with RunDir(str(tmp_path)).lock():
        pass


def test_events_read_back_in_order_and_a_cut_line_is_left_out(root: str) -> None:
    log = EventLog(join(root, "events.jsonl"))
    began, waiting = RunStarted(rounds=2), Waiting(message="half an ä")
    log.append(began)
    log.append(waiting)
    log.flush()
    if not is_url(root):
        with open(join(root, "events.jsonl"), "a", encoding="utf-8") as file:
            file.write('{"time": "2026", "ev')
    events = EventLog(join(root, "events.jsonl")).read()
    assert events == [began, waiting]
    assert events[0].time <= events[1].time


def test_events_continue_after_a_cut_line(root: str) -> None:
    path = join(root, "events.jsonl")
    first = EventLog(path)
    first.append(RunStarted())
    first.flush()
    write_bytes(path, (read_bytes(path) or b"") + b'{"time": "2026", "ev')
    second = EventLog(path)
    second.append(RunResumed())
    second.append(RunFinished())
    second.flush()
    assert [event.event for event in second.read()] == ["begin", "resume", "finished"]
