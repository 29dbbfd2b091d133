"""Reports of a run: they show the store's figures, need no network, and name what is missing."""

import fcntl
import json
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import fsspec
import pyarrow.parquet as pq
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from rlaif.cli import runs as commands
from rlaif.cli.errors import at_the_edge
from rlaif.errors import UserError
from rlaif.reporting.collect import failure_groups, pair_statistics
from rlaif.reporting.figure_text import duration, headline
from rlaif.reporting.html import render_page, write_report
from rlaif.reporting.judge_statistics import run_verdicts
from rlaif.reporting.summary import summarize
from rlaif.reporting.terminal import plain, policies_table
from rlaif.stats.bootstrap import mean_interval
from rlaif.store.records.round_records import EvaluationRecord, PromoteStage, RoundRecord, TrainStage
from rlaif.store.rundir import RunDir
from rlaif.store.schemas import VERDICTS
from rlaif.store.shards import ShardTable
from tests.unit.small_run import HOSTILE, SmallRun, cut, policy_id, remove

app = typer.Typer()
for command in (commands.trace, commands.report, commands.runs):
    app.command(command.__name__)(at_the_edge()(command))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    return SmallRun(tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(SmallRun(tmp_path_factory.mktemp("tiny") / "run", prompts=3, heldout=4).run.root)


@pytest.fixture
def copied(tiny: Path, tmp_path: Path) -> RunDir:
    return RunDir(shutil.copytree(tiny, str(tmp_path / "run")))


@pytest.fixture(scope="module")
def page(small: SmallRun) -> str:
    return render_page(small.run)


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"})


def shown(table: Any, width: int = 80) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table)
    return console.export_text()


def evaluation(run: RunDir, folder: str) -> dict[str, Any]:
    return json.loads(Path(run.path(folder, "evaluation.json")).read_text())


class Page(HTMLParser):
    """Parses a page: whether its tags match, the addresses that it would fetch, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attributes if name in ("href", "src", "srcset", "action")]
        if tag not in ("meta", "br", "link", "img", "hr", "input", "line", "circle", "rect", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("circle", "rect"):
            return
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_summary_holds_the_stores_figures(small: SmallRun) -> None:
    summary = summarize(small.run)
    assert (summary.state, summary.rounds_done, summary.planned, summary.missing) == ("finished", 2, 2, ())
    assert summary.current.number == 1
    assert [policy.id for policy in summary.policies] == [policy_id(number) for number in range(3)]
    assert [policy.promoted for policy in summary.policies] == [True, True, False]
    assert summary.pairs == len(small.pair_ids)
    stored = evaluation(small.run, "round-000")
    assert summary.current.metrics["score"].value == stored["metrics"]["score"]["mean"]
    assert summary.current.difference is not None
    assert summary.current.difference.low == stored["difference"]["low"]


def test_the_table_shows_every_policy_with_its_interval_in_eighty_columns(small: SmallRun) -> None:
    text = shown(policies_table(summarize(small.run)))
    for folder in ("initial", "round-000", "round-001"):
        score = evaluation(small.run, folder)["metrics"]["score"]
        assert f"{score['mean']:.3f} [{score['low']:.3f}, {score['high']:.3f}]" in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


def test_a_gain_within_chance_is_reported_as_such(small: SmallRun, tmp_path: Path) -> None:
    sentence, *caveat = headline(summarize(small.run))
    difference = evaluation(small.run, "round-000")["difference"]
    assert f"{difference['mean']:+.3f}" in sentence
    assert bool(caveat) == (difference["low"] <= 0 <= difference["high"])
    large = SmallRun(tmp_path / "large", prompts=1, heldout=400, rounds=1)
    assert evaluation(large.run, "round-000")["difference"]["low"] > 0
    assert len(headline(summarize(large.run))) == 1


def test_the_page_needs_no_network_and_no_script(page: str) -> None:
    read = Page(page)
    assert read.open == []
    assert "script" not in read.tags
    assert "link" not in read.tags
    assert all(link.startswith("#") for link in read.links)
    assert "url(" not in page
    assert "@import" not in page
    assert not re.search(r"https?://", page)


def test_every_row_of_a_table_has_as_many_cells_as_its_head(page: str) -> None:
    for table in re.findall(r"<table.*?</table>", page, re.DOTALL):
        head, *rows = [len(re.findall(r"<t[hd]\b", row)) for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)]
        assert rows == [head] * len(rows), table[:300]


def test_a_models_text_is_shown_and_never_run(page: str) -> None:
    assert "<script>" not in page
    assert HOSTILE in "".join(Page(page).words)


def test_every_plot_is_there_with_finite_coordinates(page: str) -> None:
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    titles = [ElementTree.fromstring(plot).attrib["aria-label"] for plot in plots]
    for title in ("score by policy", "KL to the initial policy by policy", "preference margins of round 1",
                  "lengths of chosen and rejected answers by round", "loss by step", "stages over time"):  # fmt: skip
        assert title in titles
    for plot in plots:
        for element in ElementTree.fromstring(plot).iter():
            for name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height"):
                if name in element.attrib:
                    assert math.isfinite(float(element.attrib[name]))


def test_the_page_shows_both_answers_of_the_largest_changes(small: SmallRun, page: str) -> None:
    before = {row["id"]: row for row in pq.read_table(small.run.path("initial", "answers.parquet")).to_pylist()}
    after = {row["id"]: row for row in pq.read_table(small.run.path("round-000", "answers.parquet")).to_pylist()}
    improved = sum(after[name]["score"] > before[name]["score"] for name in after)
    worsened = sum(after[name]["score"] < before[name]["score"] for name in after)
    assert f"{improved} scored higher, {worsened} lower" in page
    assert page.count('<div class="up">') == min(improved, 8)
    assert page.count('<div class="down">') == min(worsened, 4)


def test_the_page_says_which_rounds_were_trained_unpacked(page: str) -> None:
    assert "Round 0 was trained unpacked, each answer after a prompt of its own: convolutions." in page


def test_the_page_shows_provenance_failures_and_unread_verdicts(page: str) -> None:
    text = "".join(Page(page).words)
    for expected in (policy_id(0), policy_id(1), policy_id(2), "9" * 64, "a" * 64, "vllm 0.32.0",
                     "the prompt has 2210 tokens", "Both answers are fine.", "2 h 0 min", "out of memory"):  # fmt: skip
        assert expected in text


def test_verdicts_are_counted_by_judge_and_status(small: SmallRun) -> None:
    shards = [
        shard for number in (0, 1) for shard in ShardTable(small.run.round(number).path("verdicts"), VERDICTS).shards()
    ]
    rows = [row for shard in shards for row in shard.to_pylist()]
    judges, unread = run_verdicts(small.run.rounds())
    for judge in judges:
        mine = [row for row in rows if row["judge"] == judge.judge]
        assert judge.verdicts == len(mine)
        assert judge.by_status["tie"] == sum(row["status"] == "tie" for row in mine)
        assert judge.prompt_tokens == sum(row["prompt_tokens"] for row in mine)
    assert {verdict["status"] for verdict in unread} <= {"unparsed", "error"}


def test_margins_and_lengths_are_those_of_the_pairs(small: SmallRun) -> None:
    for entry in pair_statistics(small.run.rounds()):
        rows = pq.read_table(small.run.round(entry.round).path("pairs.parquet")).to_pylist()
        assert sum(sum(counts) for counts in entry.margins.values()) == entry.pairs == len(rows)
        assert sum(entry.margins["reference"]) == sum(row["judge"] == "reference" for row in rows)
        lengths = sorted(len(row["chosen_token_ids"]) for row in rows)
        assert lengths[0] <= entry.chosen.low <= entry.chosen.median <= entry.chosen.high <= lengths[-1]


def test_failures_of_one_reason_are_gathered(small: SmallRun) -> None:
    assert [(group.round, group.questions) for group in failure_groups(small.run.rounds())] == [(0, 1), (1, 1)]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("stage", RoundRecord(round=0).expected)
def test_a_run_killed_before_any_stage_is_shown_with_what_is_missing(
    copied: RunDir, tmp_path: Path, number: int, stage: str
) -> None:
    cut(tmp_path / "run", number, stage)
    summary = summarize(copied)
    assert summary.state == "killed"
    assert any(line.startswith(f"round {number}: {stage}") for line in summary.missing)
    assert summary.current.number == number
    assert Page(render_page(copied)).open == []
    assert "killed" in invoke("runs", "--runs", str(tmp_path)).output
    result = invoke("report", "run", "--runs", str(tmp_path))
    assert result.exit_code == 0
    assert f"not there yet: round {number}: {stage}" in result.output


def test_a_run_that_has_only_begun_is_shown(copied: RunDir, tmp_path: Path) -> None:
    for name in ("initial", "round-000", "events.jsonl", "recipe.yaml", "prompts"):
        remove(tmp_path / "run" / name)
    copied.set_state("running")
    remove(tmp_path / "run" / "round-001")
    assert summarize(copied).missing == ("initial policy: evaluate",)
    assert "has not been measured" in render_page(copied)
    assert "not been measured" in shown(policies_table(summarize(copied)))


def test_a_round_without_pairs_ends_with_its_reason(copied: RunDir, tmp_path: Path) -> None:
    cut(tmp_path / "run", 1, "train")
    directory = copied.round(1)
    directory.mark(TrainStage(steps=0, reason="the round has no pairs"))
    directory.mark(PromoteStage(promoted=False, reason="no pairs"))
    summary = summarize(copied)
    assert (summary.rounds_done, summary.missing) == (2, ())
    assert "no pairs" in shown(policies_table(summarize(copied)), 120)


def test_the_lock_distinguishes_a_running_run_from_a_killed_one(copied: RunDir, tmp_path: Path) -> None:
    copied.set_state("running")
    with open(tmp_path / "run" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert summarize(copied).state == "running"
    assert summarize(copied).state == "killed"


def test_without_gold_answers_policies_are_compared_by_win_rate(tmp_path: Path) -> None:
    small = SmallRun(tmp_path / "run", prompts=2, heldout=12, references=False)
    assert summarize(small.run).metric == "win_rate"
    wins = evaluation(small.run, "round-000")["metrics"]["win_rate"]
    assert f"{wins['mean']:.3f} [{wins['low']:.3f}, {wins['high']:.3f}]" in shown(policies_table(summarize(small.run)))
    text = render_page(small.run)
    assert "None has a gold answer" in text
    assert Page(text).open == []


def test_the_score_on_test_questions_is_shown_as_one_that_no_gate_has_seen(copied: RunDir) -> None:
    """Policy 1 is the current one; both scores are of the same four questions."""
    for folder, values in (("initial", [0.0, 0.0, 0.0, 1.0]), ("round-000", [1.0, 1.0, 0.0, 1.0])):
        record = EvaluationRecord.read(copied.path(folder, "evaluation.json"))
        assert record is not None
        metrics = {**record.metrics, "test_score": mean_interval(values)}
        record.model_copy(update={"metrics": metrics}).write(copied.path(folder, "evaluation.json"))
    line = headline(summarize(copied))[-1]
    assert line.startswith("Score 0.250 → 0.750 [")
    assert line.endswith("] on 4 test questions, which no gate has seen.")
    assert "score on the test questions, unseen by the gate" in render_page(copied)
    for directory in copied.rounds():
        directory.mark(PromoteStage(promoted=False))
    assert headline(summarize(copied))[-1].startswith("Score 0.250 [")


def test_the_interval_that_decided_is_on_the_page_and_in_the_terminal(copied: RunDir) -> None:
    for directory in copied.rounds():
        record = EvaluationRecord.read(directory.path("evaluation.json"))
        assert record is not None
        assert record.gate is not None
        gate = record.gate.model_copy(update={"confidence": 0.9, "low": -0.0123, "passed": False})
        record.model_copy(update={"gate": gate, "promoted": False}).write(directory.path("evaluation.json"))
        directory.mark(PromoteStage(promoted=False))
    for text in (headline(summarize(copied))[0], render_page(copied)):
        assert ", at least -0.012 at 90%" in text


def test_a_run_without_a_promoted_policy_shows_the_gates_figures(copied: RunDir, tmp_path: Path) -> None:
    for directory in copied.rounds():
        directory.mark(PromoteStage(promoted=False))
    assert "did not pass the gate: score 0.400" in headline(summarize(copied))[0]


def test_json_of_runs_and_report_has_the_tables_figures(small: SmallRun, tmp_path: Path) -> None:
    (listed,) = json.loads(invoke("runs", "--runs", str(Path(small.run.root).parent), "--json").output)
    out = str(tmp_path / "out" / "page.html")
    reported = json.loads(invoke("report", small.run.root, "--out", out, "--json").output)
    assert reported.pop("report") == out
    assert reported == listed
    assert Path(out).read_text().startswith("<!doctype html>")
    assert listed["current"]["policy"] == 1
    assert listed["current"]["value"] == evaluation(small.run, "round-000")["metrics"]["score"]
    assert listed["rounds"] == {"done": 2, "planned": 2}
    assert [entry["promoted"] for entry in listed["policies"]] == [True, True, False]


def test_trace_prints_every_hash_whole_and_no_control_characters(small: SmallRun) -> None:
    rows = pq.read_table(small.run.round(0).path("pairs.parquet")).to_pylist()
    row = next(row for row in rows if row["rejected"][0]["content"] == HOSTILE)
    result = invoke("trace", "small", row["pair_id"][:14], "--runs", str(Path(small.run.root).parent))
    assert result.exit_code == 0
    for expected in (
        row["policy"],
        row["judge_sha"],
        policy_id(1),
        "seed 1001",
        "<script>alert('x')</script>",
        "[bold]no",
    ):
        assert expected in result.output
    assert "\x1b" not in result.output
    value = json.loads(invoke("trace", small.run.root, row["pair_id"], "--json").output)
    assert value["rejected"]["text"] == HOSTILE
    assert value["verdicts"][0]["judge_sha"]


def test_wrong_use_is_one_line_and_exit_code_two(small: SmallRun, tmp_path: Path) -> None:
    runs = str(Path(small.run.root).parent)
    below_a_file = str(Path(small.run.root) / "run.json" / "page.html")
    for arguments, expected in (
        (["trace", "small", "zzz", "--runs", runs], "no pair zzz among"),
        (["report", "smal", "--runs", runs], "no run there; expected a run's path, or its name in"),
        (["report", "smal", "--runs", str(tmp_path)], ": none"),
        (
            ["report", "small", "--runs", runs, "--out", below_a_file],
            "cannot be written",
        ),
    ):
        result = invoke(*arguments)
        assert result.exit_code == 2, result.output
        assert expected in result.output
        assert len(result.output.splitlines()) == 1


def test_a_broken_file_is_named_with_its_line(copied: RunDir, tmp_path: Path) -> None:
    path = Path(copied.path("round-000", "evaluation.json"))
    path.write_text('{\n"policy": oops')
    with pytest.raises(UserError, match=re.escape(f"{path}:2: not JSON")):
        write_report(copied.root)


def test_an_empty_folder_has_no_runs(tmp_path: Path) -> None:
    assert "no runs in" in invoke("runs", "--runs", str(tmp_path / "nowhere")).output
    assert json.loads(invoke("runs", "--runs", str(tmp_path), "--json").output) == []


def test_a_run_on_an_object_store_reads_the_same(small: SmallRun, page: str) -> None:
    fsspec.filesystem("memory").put(small.run.root, "/bucket/runs/small", recursive=True)
    path = write_report("memory://bucket/runs/small")
    assert path == "memory://bucket/runs/small/report.html"
    with fsspec.open(path, "r") as file:
        text = str(file.read())
    assert re.findall(r"<svg.*?</svg>", text, re.DOTALL) == re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    result = invoke("trace", "small", small.pair_ids[0], "--runs", "memory://bucket/runs")
    assert result.exit_code == 0
    assert "small" in invoke("runs", "--runs", "memory://bucket/runs").output


@given(st.text())
def test_no_control_character_reaches_a_terminal(text: str) -> None:
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", plain(text).plain)


def test_durations_have_their_usual_units() -> None:
    spans = (0.23, 42, 61, 3599.9, 7260, 200_000)
    assert [duration(span) for span in spans] == ["0.2 s", "42 s", "1 min 1 s", "1 h 0 min", "2 h 1 min", "2 d 7 h"]
