"""Judges on the recorded replies of GPT-4 and ChatGPT, which a server beside the checkout replays, with faults."""

import asyncio
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rlaif.data.question import Question
from rlaif.errors import WorkError
from rlaif.judges.build import open_judge
from rlaif.judges.judge import Decision, Verdict
from rlaif.judges.judge_file import load_judge_file

PAIRWISE = """---
kind: pairwise
verdict: label
pattern: 'Output \\((a|b)\\)'
choices: [a, b]
---
{% block user %}
# Instruction:
{{ question }}

# Output (a):
{{ answer_a }}

# Output (b):
{{ answer_b }}

Which is better? End with Output (a) or Output (b).
{% endblock %}
"""
RATING = """---
kind: pointwise
verdict: score
scale: [0, 10]
---
{% block user %}
# Instruction:
{{ question }}

# Output:
{{ answer }}

Rate it from 0 to 10.
{% endblock %}
"""


@contextmanager
def replaying(shared: Path, judge: str, *options: str) -> Iterator[str]:
    """Start the server; gives its base URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pairs = shared / "llmbar-natural" / "pairs.jsonl"
    script = shared.parent / "tools" / "replay_judge.py"
    command = [sys.executable, str(script), str(pairs), "--judge", judge, "--port", str(port), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert "replaying" in server.stdout.readline()
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()


def stats(url: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/stats") as reply:
        found: dict[str, int] = json.load(reply)
    return found


def judge_all(
    folder: Path, url: str, rows: list[dict[str, Any]], prompt: str = PAIRWISE
) -> list[tuple[list[Verdict], Decision]]:
    (folder / "p.md").write_text(prompt, encoding="utf-8")
    (folder / "j.yaml").write_text(
        "kind: llm\nprompt: ./p.md\nbackend:\n  type: openai\n  model: replayed\n  api_key_env: REPLAY_KEY\n"
        f"  concurrency: 6\n  base_url: {url}\n",
        encoding="utf-8",
    )

    async def judged() -> list[tuple[list[Verdict], Decision]]:
        async with open_judge(load_judge_file(str(folder / "j.yaml")), None) as judge:  # type: ignore[arg-type]

            async def one(row: dict[str, Any]) -> tuple[list[Verdict], Decision]:
                verdicts = await judge.verdicts(
                    Question(row["id"], row["instruction"]), [row["output_1"], row["output_2"]]
                )
                (decision,) = judge.decide(row["id"], 2, verdicts)
                return verdicts, decision

            return list(await asyncio.gather(*(one(row) for row in rows)))

    return asyncio.run(judged())


def right(rows: list[dict[str, Any]], judged: list[tuple[list[Verdict], Decision]], order: str) -> int:
    return sum(
        verdict.order == order and verdict.preference == float(row["label"] == 1)
        for row, (verdicts, _) in zip(rows, judged, strict=True)
        for verdict in verdicts
    )


@pytest.fixture
def rows(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    monkeypatch.setenv("REPLAY_KEY", "sk-replayed")
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    text = (shared_data / "llmbar-natural" / "pairs.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("judge", "given", "swapped", "equal"),
    [("GPT-4/CoT", 94, 95, 91), ("GPT-4/Vanilla", 95, 96, 95), ("ChatGPT/CoT", 69, 78, 63)],
)
def test_the_figures_are_the_published_ones_of_llmbar(
    tmp_path: Path, shared_data: Path, rows: list[dict[str, Any]], judge: str, given: int, swapped: int, equal: int
) -> None:
    """ChatGPT/CoT lacks three answers that LLMBar reads by the last output named (70, 78 and 64 with them).

    They end by comparing with an output, by denying one, or by calling both equally good.
    """
    with replaying(shared_data, judge, "--key", "sk-replayed") as url:
        judged = judge_all(tmp_path, url, rows)
        assert stats(url)["most_in_flight"] <= 6
    assert (right(rows, judged, "ab"), right(rows, judged, "ba")) == (given, swapped)
    assert sum(decision.status == "ok" for _, decision in judged) == equal
    unread = {verdict.prompt_id for verdicts, _ in judged for verdict in verdicts if verdict.status == "unparsed"}
    assert unread == ({"natural-001", "natural-017", "natural-069"} if judge == "ChatGPT/CoT" else set())


def test_ratings_are_read_and_compared(tmp_path: Path, shared_data: Path, rows: list[dict[str, Any]]) -> None:
    with replaying(shared_data, "GPT-4/Rating") as url:
        judged = judge_all(tmp_path, url, rows, RATING)
    for row, (verdicts, decision) in zip(rows, judged, strict=True):
        recorded = [float(row["recorded"]["GPT-4/Rating"][name]) for name in ("first", "second")]
        assert [verdict.score for verdict in verdicts] == recorded
        assert (decision.status == "tie") == (recorded[0] == recorded[1])


def test_faults_are_repeated_and_garbled_answers_prefer_nothing(
    tmp_path: Path, shared_data: Path, rows: list[dict[str, Any]]
) -> None:
    with replaying(shared_data, "GPT-4/CoT", "--fail", "5", "--garble", "7", "--slow", "0.01") as url:
        judged = judge_all(tmp_path, url, rows)
        requests = stats(url)["requests"]
    verdicts = [verdict for given, _ in judged for verdict in given]
    assert len(verdicts) == 200
    assert requests == 200 + requests // 5
    # Of the requests whose number is a multiple of 7, those that are not a multiple of 5 were answered.
    assert sum(verdict.status == "unparsed" for verdict in verdicts) == requests // 7 - requests // 35
    assert {verdict.status for verdict in verdicts} == {"ok", "unparsed"}
    assert all((verdict.preference is None) == (verdict.status == "unparsed") for verdict in verdicts)
    assert {verdict.text for verdict in verdicts if verdict.status == "unparsed"} == {"I would rather not say."}


def test_a_wrong_key_stops_at_once(tmp_path: Path, shared_data: Path, rows: list[dict[str, Any]]) -> None:
    started = time.monotonic()
    with replaying(shared_data, "GPT-4/CoT", "--key", "another") as url, pytest.raises(WorkError, match="REPLAY_KEY"):
        judge_all(tmp_path, url, rows)
    assert time.monotonic() - started < 30
