"""`rlaif judge` without a model: its lists, trials, reports, comparisons and errors."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.judge_evals.attacks import ATTACKS
from rlaif.judge_evals.figures import FIGURES
from rlaif.store.schemas import VERDICTS
from tests.endpoint import Exchange, endpoint

EVIL = "<script>alert(1)</script> \x1b[31m {{ 7 * 7 }} [bold]"


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["judge", *arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.output if code else result.stdout


@pytest.fixture
def labels(tmp_path: Path) -> str:
    rows: list[dict[str, Any]] = [
        {"id": "right", "question": "Sales?", "reference": "$7", "answer_a": "$7", "answer_b": "or $8", "human": "a"},
        {"id": "wrong", "question": EVIL, "reference": "$7", "answer_a": EVIL, "answer_b": "$7", "human": "a"},
        {"id": "tied", "question": "Costs?", "reference": "$7", "answer_a": "$1", "answer_b": "$2", "human": "b"},
        {"id": "silent", "question": "Costs, again?", "answer_a": "$1", "answer_b": "$2", "human": "b"},
    ]  # fmt: skip
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_all_judges_are_listed_and_a_faulty_one_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "judges").mkdir()
    (tmp_path / "judges" / "mine.yaml").write_text("kind: reference\n", encoding="utf-8")
    (tmp_path / "judges" / "broken.yaml").write_text("kind: nonsense\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    listed = {judge["name"]: judge for judge in json.loads(run("list", "--json"))}
    assert (listed["mine"]["own"], listed["finance-grounded"]["own"]) == (True, False)
    assert "broken.yaml:1: kind: expected one of" in listed["broken"]["fault"]
    shown = run("list")
    assert "mine" in shown
    assert listed["mine"]["sha"][:8] in shown


def test_a_judge_is_shown_with_its_path_and_identity() -> None:
    shown = run("show", "finance-panel")
    assert "finance-panel.yaml" in shown
    assert json.loads(run("show", "finance-panel", "--json"))["sha"] in shown
    assert "no judge by that name" in run("show", "nobody", code=2)


def test_a_file_is_checked_and_each_fault_has_its_line(tmp_path: Path) -> None:
    assert "no fault found" in run("check", "finance-grounded")
    assert json.loads(run("check", "finance-grounded", "--json")) == []
    broken = tmp_path / "broken.yaml"
    broken.write_text("kind: reference\ntolerance: 2\n", encoding="utf-8")
    assert f"{broken}:2: tolerance: " in run("check", str(broken), code=2)


def test_one_question_is_tried() -> None:
    arguments = ("try", "reference", "--question", "Sales?", "--a", "$8", "--b", "$7 million")
    shown = run(*arguments, "--reference", "$7 million")
    assert "answer_b alone: score 1" in shown
    assert "decision: answer_b, margin 1.000, by reference" in shown
    assert "decision: none" in run(*arguments)
    tried = json.loads(run(*arguments, "--reference", "$7 million", "--json"))
    assert (tried["decision"]["preference"], len(tried["verdicts"])) == (0.0, 2)


def test_a_report_is_written_whole_and_the_page_escapes_all_texts(labels: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shown = run("report", "reference", "--labels", labels, "--out", str(out))
    assert "\x1b[31m" not in shown
    assert "reference decides for people's choice on 25.0%" in shown
    found = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert {name: found["figures"][name]["value"] for name in ("accuracy", "ties_half", "tie", "silent")} == {
        "accuracy": 0.25, "ties_half": 0.375, "tie": 0.25, "silent": 0.25,
    }  # fmt: skip
    assert [entry["id"] for entry in found["worst"]] == ["wrong"]
    assert found["labels"]["count"] == 4
    table = pq.read_table(out / "verdicts.parquet")
    assert table.schema.equals(VERDICTS)
    assert sorted(set(table["prompt_id"].to_pylist())) == ["right", "tied", "wrong"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{ 7 * 7 }}" in page
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    assert page.count("<svg") >= 2


def test_attacks_are_measured_only_on_right_verdicts(labels: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shown = run("report", "reference", "--labels", labels, "--attacks", "5", "--out", str(out))
    found = json.loads((out / "report.json").read_text(encoding="utf-8"))["attacks"]
    assert {attack["name"] for attack in found} == set(ATTACKS)
    assert {attack["flipped"]["n"] for attack in found} == {1}
    assert all(name in shown for name in ATTACKS)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert all(f"<td>{name}</td>" in page for name in ATTACKS)


def test_the_same_labels_make_the_same_report(labels: str) -> None:
    one, two = (json.loads(run("report", "reference", "--labels", labels, "--json")) for _ in range(2))
    assert {**one, "written": ""} == {**two, "written": ""}


def test_two_judges_are_compared(labels: str, tmp_path: Path) -> None:
    loose = tmp_path / "loose.yaml"
    loose.write_text("kind: reference\ntolerance: 0.9\n", encoding="utf-8")
    found = json.loads(run("compare", "reference", str(loose), "--labels", labels, "--json"))
    assert found["labels"] == 4
    assert found["both_right"] + found["only_first"] + found["only_second"] + found["neither"] == 4
    assert len(found["flips"]) == found["only_first"] + found["only_second"] > 0
    shown = run("compare", "reference", str(loose), "--labels", labels)
    assert "McNemar's exact test: p =" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["report", "reference", "--labels", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
        (["report", "nobody", "--labels", "LABELS"], "nobody: no judge by that name"),
        (["report", "reference", "--labels", "LABELS", "--set", "cluster.jugde=1"], "cluster.jugde: unknown key"),
        (["report", "reference", "--labels", "LABELS", "--out", "LABELS/x"], "cannot be written to"),
        (["report", "finance-grounded", "--labels", "LABELS", "--model", "./nowhere"], "./nowhere: no such directory"),
        (["labels", "LABELS", "-o", "out.jsonl"], "neither form"),
        (["labels", "LABELS", "-o", "out.jsonl", "--part", "3/2"], "--part 3/2: expected a part from 1 to 2"),
    ],
)
def test_wrong_use_ends_with_one_line_and_code_2(labels: str, arguments: list[str], said: str) -> None:
    assert said in run(*(word.replace("LABELS", labels) for word in arguments), code=2)


def test_every_figure_is_explained_in_the_documents() -> None:
    page = (Path(__file__).parents[2] / "docs" / "judges.md").read_text(encoding="utf-8")
    explained = {
        name for line in page.splitlines() if line.startswith("| `") for name in re.findall(r"`([^`]+)`", line)
    }
    assert set(FIGURES) - explained == set()


@pytest.mark.parametrize("kind", ["python", "http"])
def test_a_judge_of_ones_own_is_listed_checked_tried_measured_and_attacked(
    kind: str, labels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RLAIF_CACHE", str(tmp_path / "cache"))
    (tmp_path / "judges").mkdir()
    code = "def judge(question, candidates, gold_answer, context):\n    return [gold_answer == c for c in candidates]\n"
    (tmp_path / "judges" / "mine.py").write_text(code, encoding="utf-8")

    def answer(exchange: Exchange, number: int) -> None:
        asked = exchange.server.requests[-1]
        scores = [float(asked["gold_answer"] == candidate) for candidate in asked["candidates"]]
        exchange.send(200, json.dumps({"scores": scores}).encode())

    with endpoint(answer) as server:
        keys = "file: mine.py" if kind == "python" else f"url: {server.url}\nconcurrency: 1"
        (tmp_path / "judges" / "mine.yaml").write_text(f"kind: {kind}\n{keys}\n", encoding="utf-8")
        assert "no fault found" in run("check", "mine")
        (listed,) = (judge for judge in json.loads(run("list", "--json")) if judge["name"] == "mine")
        assert (listed["kind"], listed["sha"]) == (kind, json.loads(run("show", "mine", "--json"))["sha"])
        tried = run("try", "mine", "--question", "Sales?", "--a", "$8", "--b", "$7", "--reference", "$7")
        assert "decision: answer_b, margin 1.000, by mine" in tried
        arguments = ("report", "mine", "--labels", labels, "--out", "out", "--attacks", "1", "--json")
        found = json.loads(run(*arguments))
        asked = len(server.requests)
        assert json.loads(run(*arguments))["figures"] == found["figures"]
    # The question before the work is asked whatever is kept.
    assert len(server.requests) == asked + (kind == "http")
    assert found["figures"]["accuracy"]["value"] == 0.25
    assert found["figures"]["tie"]["value"] == 0.5
    assert {(attack["flipped"]["value"], attack["failed"]) for attack in found["attacks"]} == {(0.0, 0)}
    verdicts = pq.read_table(tmp_path / "out" / "verdicts.parquet")
    assert verdicts.schema.names == VERDICTS.names
    assert set(verdicts["judge_sha"].to_pylist()) == {listed["sha"]}


@pytest.mark.parametrize("fault", ["raise ValueError('no figure')", "import os; os._exit(1)", "return ['high', 'low']"])
def test_a_failing_judge_of_ones_own_has_no_figure_but_its_errors(
    fault: str, labels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLAIF_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine.py").write_text(f"def judge(*asked):\n    {fault}\n", encoding="utf-8")
    (tmp_path / "mine.yaml").write_text("kind: python\nfile: mine.py\n", encoding="utf-8")
    found = json.loads(run("report", str(tmp_path / "mine.yaml"), "--labels", labels, "--attacks", "1", "--json"))
    assert found["figures"]["error"]["value"] == 1.0
    assert found["figures"]["accuracy"]["value"] == 0.0
    assert "accuracy_decided" not in found["figures"]


def test_a_judge_of_ones_own_that_mostly_fails_stops_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLAIF_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine.py").write_text("def judge(*asked):\n    raise ValueError('no figure')\n", encoding="utf-8")
    (tmp_path / "mine.yaml").write_text("kind: python\nfile: mine.py\n", encoding="utf-8")
    rows = [{"id": str(n), "question": f"{n}?", "answer_a": "1", "answer_b": "2", "human": "a"} for n in range(30)]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    arguments = ("report", str(tmp_path / "mine.yaml"), "--labels", str(tmp_path / "labels.jsonl"))
    stopped = run(*arguments, code=1)
    assert "judge mine: 20 of the last 20 questions failed" in " ".join(stopped.split())
    assert "ValueError: no figure" in stopped
    (tmp_path / "mine.yaml").write_text("kind: python\nfile: mine.py\nmax_error_share: 1\n", encoding="utf-8")
    assert json.loads(run(*arguments, "--json"))["figures"]["error"]["value"] == 1.0


def test_a_panel_of_ones_own_code_and_another_judge(
    labels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RLAIF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    code = (
        "def judge(question, candidates, gold_answer, context):\n"
        "    return [None if 'again' in question else len(c) for c in candidates]\n"
    )
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    (tmp_path / "mine.yaml").write_text("kind: python\nfile: mine.py\n", encoding="utf-8")
    with endpoint(lambda exchange, number: exchange.say("[[B]]" if number == 1 else "[[A]]")) as server:
        (tmp_path / "model.yaml").write_text(
            "kind: llm\nprompt: helpfulness\nreasoning: true\n"
            f"backend: {{type: openai, model: m, base_url: {server.url}, concurrency: 1}}\n",
            encoding="utf-8",
        )
        (tmp_path / "panel.yaml").write_text(
            "kind: panel\nmode: first-to-decide\njudges: [./mine.yaml, ./model.yaml]\n", encoding="utf-8"
        )
        found = json.loads(run("report", str(tmp_path / "panel.yaml"), "--labels", labels, "--json"))
    # The function ties the answers of one length, and says nothing of one question: the model settles both.
    assert {judge["name"]: judge["labels"] for judge in found["judges"]} == {"mine": 3, "model": 2}
    assert len(server.requests) == 4
