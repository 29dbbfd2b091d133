"""Judges measured through the command line, on the recorded judgments of GPT-4 and ChatGPT on LLMBar's pairs.

A server of OpenAI's protocol replays the benchmark's recorded judgments, so that prompt, reading, decision and report
are compared with the benchmark's own figures (`published.json`).
"""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.e2e import command

PAIRWISE = r"""---
kind: pairwise
verdict: label
choices: [a, b]
pattern: 'Output \(([ab])\)'
---
{% block user %}
Select the output that executes the instruction better, and end with "Output (a)" or "Output (b)".

# Instruction:
{{ question }}

# Output (a):
{{ answer_a }}

# Output (b):
{{ answer_b }}

# Which is better, Output (a) or Output (b)?
{% endblock %}
"""

RATING = """---
kind: pointwise
verdict: score
scale: [0, 10]
---
{% block user %}
Rate how well the output executes the instruction, from 0 to 10.

# Instruction:
{{ question }}

# Output:
{{ answer }}
{% endblock %}
"""

Served = Callable[..., tuple[Path, str]]


@pytest.fixture
def replayed(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """Starts a server that replays a judge, and returns a judge file that asks it, and the server's address."""
    # The verdict cache of this test alone: another server may have had the same port.
    monkeypatch.setenv("RLAIF_CACHE", str(tmp_path / "cache"))
    servers: list[subprocess.Popen[str]] = []

    def start(judge: str, *options: str, **backend: Any) -> tuple[Path, str]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        tool = shared_data.parent / "tools" / "replay_judge.py"
        pairs = shared_data / "llmbar-natural" / "pairs.jsonl"
        arguments = [sys.executable, str(tool), str(pairs), "--judge", judge, "--port", str(port), *options]
        servers.append(subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True))
        assert (servers[-1].stdout or sys.stdin).readline().startswith("replaying")
        rating = judge.endswith("/Rating")
        name = judge.replace("/", "-").lower()
        (tmp_path / f"{name}.md").write_text(RATING if rating else PAIRWISE, encoding="utf-8")
        path = tmp_path / f"{name}.yaml"
        url = f"http://127.0.0.1:{port}"
        settings = {"type": "openai", "model": judge, "base_url": f"{url}/v1", "api_key_env": None, **backend}
        file = {"kind": "llm", "prompt": f"{name}.md", "backend": settings}
        path.write_text(json.dumps(file), encoding="utf-8")
        return path, url

    yield start
    for server in servers:
        server.kill()
        server.wait()


@pytest.fixture
def labels(shared_data: Path, tmp_path: Path) -> Path:
    """LLMBar's pairs as a label file, made by the command that the documents name."""
    path = tmp_path / "llmbar.jsonl"
    made = command.run("judge", "labels", str(shared_data / "llmbar-natural" / "pairs.jsonl"), "-o", str(path))
    assert made.returncode == 0, made.stderr
    return path


def report(judge: Path, labels: Path, *options: str) -> dict[str, Any]:
    done = command.run("judge", "report", str(judge), "--labels", str(labels), "--json", *options, cwd=labels.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def values(found: dict[str, Any]) -> dict[str, float]:
    """Return all figures of a report on one judge, in percent where they are shares."""
    figures = {**found["figures"], **found["judges"][0]["figures"]}
    return {name: round(100 * figure["value"], 6) for name, figure in figures.items()}


def published(shared_data: Path, judge: str) -> dict[str, float]:
    """Return LLMBar's own figures for a judge, in percent."""
    text = (shared_data / "llmbar-natural" / "published.json").read_text(encoding="utf-8")
    shares = {
        name: re.findall(r"([\d.]+)%", value) for name, value in json.loads(text)[judge].items() if "%" in str(value)
    }
    return {name: round(float(found[0]), 6) for name, found in shares.items()}


@pytest.mark.parametrize(
    ("judge", "in_orders", "agree"),
    [("GPT-4/CoT", (94, 95), 91), ("GPT-4/Vanilla", (95, 96), 95)],
)
def test_the_report_has_llmbars_figures(
    replayed: Served, labels: Path, shared_data: Path, judge: str, in_orders: tuple[int, int], agree: int
) -> None:
    found = report(replayed(judge)[0], labels)
    figures, theirs = values(found), published(shared_data, judge)
    assert (figures["accuracy_ab"], figures["accuracy_ba"], figures["orders_agree"]) == (*in_orders, agree)
    assert (theirs["correct_False"], theirs["correct_True"], theirs["equal"]) == (*in_orders, agree)
    assert figures["accuracy"] == theirs["correct_both"]
    assert figures["ties_half"] == theirs["correct_average"]
    assert found["judges"][0]["verdicts"] == {"ok": 200}
    assert all(figure["n"] for figure in found["figures"].values())


def test_answers_that_name_both_outputs_in_their_last_words_are_no_verdicts(replayed: Served, labels: Path) -> None:
    """Three of ChatGPT's with reasons, which LLMBar reads by the output named last: its own figures are 70, 78, 56, 74.

    natural-001 denies that output, natural-017 calls both equally good, natural-069 compares with it.
    """
    found = report(replayed("ChatGPT/CoT")[0], labels)
    figures = values(found)
    assert found["judges"][0]["verdicts"] == {"ok": 197, "unparsed": 3}
    assert (figures["accuracy_ab"], figures["accuracy_ba"], figures["unparsed"]) == (69, 78, 3)
    assert figures["orders_agree"] == pytest.approx(100 * 63 / 97)
    assert (figures["accuracy"], figures["ties_half"]) == (55, 72)


@pytest.mark.parametrize(("judge", "right", "ties"), [("GPT-4/Rating", 87, 10), ("ChatGPT/Rating", 45, 47)])
def test_the_report_of_a_judge_that_rates_has_llmbars_figures(
    replayed: Served, labels: Path, shared_data: Path, judge: str, right: int, ties: int
) -> None:
    figures, theirs = values(report(replayed(judge)[0], labels)), published(shared_data, judge)
    assert (figures["accuracy"], figures["tie"]) == (right, ties)
    assert (theirs["correct_both"], theirs["correct_average"]) == (right, figures["ties_half"])
    assert "accuracy_ab" not in figures


def test_failures_are_retried_and_unreadable_replies_are_not_preferences(
    replayed: Served, labels: Path, tmp_path: Path
) -> None:
    judge, url = replayed("GPT-4/CoT", "--fail", "5", "--garble", "7", "--slow", "0.05", concurrency=16)
    found = report(judge, labels, "--out", str(tmp_path / "out"))
    with urllib.request.urlopen(f"{url}/stats") as reply:
        stats: dict[str, int] = json.load(reply)
    (statuses,) = [entry["verdicts"] for entry in found["judges"]]
    # Every fifth request failed and was asked again: no verdict is lost and none is an error.
    assert stats["requests"] > 200
    assert 1 < stats["most_in_flight"] <= 16
    assert set(statuses) == {"ok", "unparsed"}
    assert sum(statuses.values()) == 200
    verdicts = pq.read_table(tmp_path / "out" / "verdicts.parquet").to_pylist()
    assert len({(verdict["prompt_id"], verdict["order"]) for verdict in verdicts}) == 200
    garbled = [verdict for verdict in verdicts if verdict["text"] == "I would rather not say."]
    assert len(garbled) == statuses["unparsed"] > 20
    assert {(verdict["status"], verdict["preference"]) for verdict in garbled} == {("unparsed", None)}
    lost = {verdict["prompt_id"] for verdict in garbled}
    assert found["figures"]["unparsed"]["value"] == pytest.approx(len(lost) / 100)
    assert sum(sum(row.values()) for row in found["confusion"].values()) == 100
    assert sum(row["unparsed"] for row in found["confusion"].values()) == len(lost)


def test_a_server_that_only_fails_gives_errors_and_no_preference(replayed: Served, labels: Path) -> None:
    judge, _ = replayed("GPT-4/Vanilla", "--fail", "1", retries=0)
    found = report(judge, labels, "--limit", "5")
    assert found["judges"][0]["verdicts"] == {"error": 10}
    assert found["figures"]["error"]["value"] == 1.0
    assert found["figures"]["accuracy"]["value"] == 0.0


def test_the_page_needs_no_network_and_shows_disagreements_and_plots(
    replayed: Served, labels: Path, tmp_path: Path
) -> None:
    judge, _ = replayed("ChatGPT/CoT", prices={"prompt": 1.5, "completion": 2.0})
    out = tmp_path / "out"
    done = command.run("judge", "report", str(judge), "--labels", str(labels), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "55.0%" in done.stdout
    assert "USD" in done.stdout
    page = (out / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    assert "<script" not in page
    assert page.count('<article class="answer">') == min(
        20, len(json.loads((out / "report.json").read_text(encoding="utf-8"))["worst"])
    )
    assert page.count("<svg") >= 3


def test_two_judges_are_compared_on_the_same_labels(replayed: Served, labels: Path) -> None:
    better, worse = replayed("GPT-4/CoT")[0], replayed("ChatGPT/CoT")[0]
    done = command.run("judge", "compare", str(worse), str(better), "--labels", str(labels), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["figures"]["first"]["value"], found["figures"]["second"]["value"]) == (0.55, 0.9)
    assert found["figures"]["difference"]["value"] == pytest.approx(0.35)
    assert found["figures"]["difference"]["low"] > 0.2
    assert found["p_value"] < 1e-6
    assert found["both_right"] + found["only_first"] + found["only_second"] + found["neither"] == 100
    assert len(found["flips"]) == found["only_first"] + found["only_second"]
    shown = command.run("judge", "compare", str(worse), str(better), "--labels", str(labels))
    assert "McNemar" in shown.stdout


def requests(url: str) -> int:
    with urllib.request.urlopen(f"{url}/stats") as reply:
        return int(json.load(reply)["requests"])


def test_ctrl_c_ends_with_one_line_and_the_same_command_asks_only_the_rest(replayed: Served, labels: Path) -> None:
    judge, url = replayed("GPT-4/CoT", "--slow", "0.1", concurrency=2)
    process = command.start("judge", "report", str(judge), "--labels", str(labels))
    assert command.wait_until(lambda: requests(url) > 20, process)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, time.monotonic() - began < 15) == (130, True)
    assert "Traceback" not in errors
    assert "run the same command to continue" in errors
    first = report(judge, labels)
    # Requests that were in flight at Ctrl-C may be sent again, and each command asks a first question.
    assert 201 <= requests(url) <= 203
    assert values(first)["orders_agree"] == 91
    again = report(judge, labels)
    assert requests(url) <= 204
    # The report has the cost of its verdicts, whichever command paid.
    assert again["judges"] == first["judges"]


def test_a_limit_on_money_stops_before_it_is_passed(replayed: Served, labels: Path) -> None:
    judge, url = replayed("GPT-4/Vanilla", concurrency=1, prices={"prompt": 1000.0, "completion": 1000.0})
    arguments = ("judge", "report", str(judge), "--labels", str(labels), "--max-cost", "2")
    stopped = command.run(*arguments)
    assert stopped.returncode == 1
    assert "--max-cost: " in stopped.stderr
    assert 0 < requests(url) < 50
    free, _ = replayed("GPT-4/CoT")
    refused = command.run("judge", "report", str(free), "--labels", str(labels), "--max-cost", "2")
    assert (refused.returncode, "has no backend.prices" in refused.stderr) == (2, True)


def test_a_judge_on_an_engine_of_ours_is_measured_and_the_engine_is_stopped(tmp_path: Path) -> None:
    rows = [
        {
            "id": str(number), "question": f"What were sales in {2020 + number}?",
            "context": f"Sales were ${number} million.", "answer_a": f"${number} million",
            "answer_b": "I do not know.", "human": "a",
        }
        for number in range(1, 4)
    ]  # fmt: skip
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = report(Path("finance-grounded"), path)
    assert found["models"] == {"policy": "builtin:smollm2-135m"}
    (judge,) = found["judges"]
    assert judge["verdicts"] == {"ok": 6}
    assert judge["spent"]["completion_tokens"] == 6
    assert sum(entry["right"]["n"] for entry in judge["reliability"]) == 3
    assert 0.0 <= judge["figures"]["ece"]["value"] <= 1.0
