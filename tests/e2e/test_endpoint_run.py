"""A run whose judge is behind an endpoint that replies oddly, or cannot answer at all."""

import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.e2e import command
from tests.endpoint import Endpoint, Exchange, endpoint
from tests.odd_replies import ODD_REPLIES

# The replies of which each has another outcome; two of three requests are answered plainly.
ODD = [
    "parts", "cut in its reasoning", "null", "a refusal", "a tool", "broken off", "no choices",
    "an error that may pass", "null counts",
]  # fmt: skip
LIMITS = ["--set", "rounds.count=1", "--set", "rounds.questions=5", "--set", "questions.heldout.count=2"]


def judged_run(folder: Path, server: Endpoint, **options: Any) -> list[str]:
    """Return the arguments of a run whose judge asks an endpoint."""
    (folder / "p.md").write_text(
        "---\nkind: pairwise\nverdict: label\npattern: '\\[\\[([AB])\\]\\]'\nchoices: [A, B]\n---\n{% block user %}\n"
        "{{ question }}\n{{ answer_a | quoted }}\n{{ answer_b | quoted }}\n{% endblock %}\n",
        encoding="utf-8",
    )
    backend = {"type": "openai", "model": "m", "base_url": server.url, "api_key_env": None, "retries": 1, **options}
    path = folder / "remote.yaml"
    path.write_text(json.dumps({"kind": "llm", "prompt": "./p.md", "backend": backend}), encoding="utf-8")
    return ["run", str(command.RECIPE), "--runs", str(folder / "runs"), "--set", f"judge.name={path}", *LIMITS]


def by_text(answer: Callable[[Exchange, str], None]) -> Callable[[Exchange, int], None]:
    return lambda exchange, number: answer(exchange, exchange.server.requests[number - 1]["messages"][0]["content"])


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of this test alone: another server may have had the same port.
    monkeypatch.setenv("RLAIF_CACHE", str(tmp_path / "cache"))


@pytest.mark.timeout(900)
def test_a_run_takes_odd_replies_as_verdicts_or_errors(tmp_path: Path) -> None:
    def answer(exchange: Exchange, text: str) -> None:
        if "max_tokens" in exchange.server.requests[-1]:
            return exchange.refuse(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        # The two answers, whichever comes first, have one number.
        quoted = [line for line in text.splitlines() if line.startswith("|")]
        number = zlib.crc32("".join(sorted(quoted)).encode()) % (3 * len(ODD))
        if "greater" not in text and number < len(ODD):
            return exchange.send_json(ODD_REPLIES[ODD[number]].body)
        return exchange.say("[[A]]" if quoted == sorted(quoted) else "[[B]]")

    with endpoint(by_text(answer)) as server:
        command_line = judged_run(tmp_path, server, concurrency=4, max_error_share=1.0)
        done = command.run(*command_line)
    assert done.returncode == 0, done.stdout + done.stderr
    # What is finished asks nobody, so the same command needs no endpoint.
    again = command.run(*command_line)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.stderr.count("refuses max_tokens: max_completion_tokens is sent instead") == 1
    (run,) = (tmp_path / "runs").iterdir()
    shards = sorted((run / "round-000" / "verdicts").glob("*.parquet"))
    verdicts = [row for shard in shards for row in pq.read_table(shard).to_pylist()]
    statuses = {verdict["status"] for verdict in verdicts}
    assert {"ok", "error"} <= statuses
    assert all(
        verdict["text"] and verdict["preference"] is None for verdict in verdicts if verdict["status"] == "error"
    )
    assert re.search(r"errors on [0-9.]+% of the comparisons", done.stdout + done.stderr)


@pytest.mark.timeout(300)
def test_a_run_ends_before_its_engines_if_the_judge_cannot_answer(tmp_path: Path) -> None:
    refuse = by_text(lambda exchange, text: exchange.refuse(404, "The model `m` does not exist", "model_not_found"))
    with endpoint(refuse) as server:
        done = command.run(*judged_run(tmp_path, server))
        dead = judged_run(tmp_path, server, timeout=5)
    line = done.stderr.strip().splitlines()[-1]
    assert (done.returncode, len(server.requests)) == (1, 1)
    assert line.startswith("rlaif: m at http")
    assert "refuses every request: HTTP 404: The model `m` does not exist" in line
    assert "start engines" not in done.stdout + done.stderr
    gone = command.run(*dead)
    assert (gone.returncode, "cannot be asked: no connection" in gone.stderr) == (1, True)
