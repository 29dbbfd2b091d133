"""Judges behind endpoints through the command line: the first question, odd replies, and when the work ends."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rlaif.cli.main import app
from tests.endpoint import Endpoint, Exchange, endpoint
from tests.odd_replies import ODD_REPLIES, SAME_FOR_ALL

Serve = Callable[..., tuple[str, Endpoint]]


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts an endpoint, and returns the judge file that asks it and the endpoint."""
    monkeypatch.setenv("RLAIF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("rlaif.inference.retrying.FIRST_PAUSE", 0.01)
    (tmp_path / "p.md").write_text(
        "---\nkind: pairwise\nverdict: label\npattern: '\\[\\[([AB])\\]\\]'\nchoices: [A, B]\n---\n{% block user %}\n"
        "{{ question }}\n{{ answer_a | quoted }}\n{{ answer_b | quoted }}\n{% endblock %}\n",
        encoding="utf-8",
    )
    with ExitStack() as stack:

        def start(answer: Callable[[Exchange, str], None], **options: Any) -> tuple[str, Endpoint]:
            def by_text(exchange: Exchange, number: int) -> None:
                answer(exchange, exchange.server.requests[number - 1]["messages"][0]["content"])

            server = stack.enter_context(endpoint(by_text))
            backend = {
                "type": "openai",
                "model": "m",
                "base_url": server.url,
                "api_key_env": None,
                "retries": 1,
                **options,
            }
            path = tmp_path / "remote.yaml"
            path.write_text(
                json.dumps({"kind": "llm", "prompt": "./p.md", "max_tokens": 64, "backend": backend}), encoding="utf-8"
            )
            return str(path), server

        yield start


def right(exchange: Exchange, text: str) -> None:
    """Answer as people do."""
    exchange.say("[[A]]" if text.index("| good") < text.index("| bad") else "[[B]]")


def write_labels(folder: Path, questions: list[str]) -> str:
    path = folder / "labels.jsonl"
    rows = [{"id": name, "question": name, "answer_a": "good", "answer_b": "bad", "human": "a"} for name in questions]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def write_candidates(folder: Path, questions: list[str]) -> str:
    path = folder / "candidates.jsonl"
    rows = [{"id": name, "question": name, "answers": ["good", "bad"]} for name in questions]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def run(*arguments: str, code: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result.stdout, result.stderr


def test_a_report_reads_each_odd_reply_as_a_verdict_or_an_error(serve: Serve, tmp_path: Path) -> None:
    def answer(exchange: Exchange, text: str) -> None:
        odd = ODD_REPLIES.get(text.splitlines()[0])
        exchange.send_json(odd.body) if odd else right(exchange, text)

    judge, _ = serve(answer, max_error_share=1.0)
    labels, out = write_labels(tmp_path, ["q", *ODD_REPLIES]), tmp_path / "out"
    shown, _ = run("judge", "report", judge, "--labels", labels, "--out", str(out))
    verdicts = pq.read_table(out / "verdicts.parquet").to_pylist()
    for name, odd in ODD_REPLIES.items():
        given = [verdict for verdict in verdicts if verdict["prompt_id"] == name]
        expected = "error" if odd.failure else "ok" if odd.text == "[[A]]" else "unparsed"
        assert {(verdict["status"], odd.failure in verdict["text"]) for verdict in given} == {(expected, True)}, name
    errors, of = sum(bool(odd.failure) for odd in ODD_REPLIES.values()), 1 + len(ODD_REPLIES)
    found = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert found["errors"] == {"labels": errors, "of": of, "share": pytest.approx(errors / of)}
    note = f"On {errors} of {of} labels ({100 * errors / of:.1f}%) a request failed; they count as wrong."
    assert note in " ".join(shown.split())
    assert note in (out / "report.html").read_text(encoding="utf-8")


def test_an_error_is_not_kept_and_is_asked_again(serve: Serve, tmp_path: Path) -> None:
    healed = []

    def answer(exchange: Exchange, text: str) -> None:
        exchange.say("") if "odd one" in text and not healed else right(exchange, text)

    judge, server = serve(answer)
    labels = write_labels(tmp_path, ["q1", "an odd one"])
    assert json.loads(run("judge", "report", judge, "--labels", labels, "--json")[0])["errors"]["labels"] == 1
    assert len(server.requests) == 4
    healed.append(True)
    assert json.loads(run("judge", "report", judge, "--labels", labels, "--json")[0])["errors"]["labels"] == 0
    # The question before the work is asked whatever is kept; the two that failed are asked again.
    assert len(server.requests) == 4 + 1 + 2


@pytest.mark.parametrize(
    ("command", "name"),
    [*(("report", name) for name in SAME_FOR_ALL), ("compare", "422"), ("label", "403"), ("check", "404")],
)
def test_an_error_that_every_request_would_get_ends_the_command(
    serve: Serve, tmp_path: Path, command: str, name: str
) -> None:
    status, error, said = SAME_FOR_ALL[name]
    judge, server = serve(lambda exchange, text: exchange.send_json(error, status))
    labels = write_labels(tmp_path, ["q1", "q2"])
    arguments = {
        "report": ["judge", "report", judge, "--labels", labels],
        "compare": ["judge", "compare", "reference", judge, "--labels", labels],
        "label": ["label", write_candidates(tmp_path, ["q1"]), "--judge", judge, "-o", str(tmp_path / "pairs.parquet")],
        "check": ["judge", "check", judge, "--ask"],
    }
    _, told = run(*arguments[command], code=1)
    line = told.strip().splitlines()[-1]
    assert line.startswith("rlaif: ")
    assert said in line
    assert len(server.requests) == 1


def test_the_question_before_the_work_is_the_shortest_and_counts_against_the_limit(
    serve: Serve, tmp_path: Path
) -> None:
    judge, server = serve(right, prices={"prompt": 1e6, "completion": 0})
    labels = write_labels(tmp_path, ["a long question", "short", "another long question"])
    told = run("judge", "report", judge, "--labels", labels, "--max-cost", "50", code=1)[1]
    assert "--max-cost: 100.00 USD spent" in told
    assert [request["messages"][0]["content"].splitlines()[0] for request in server.requests] == ["short"]


def test_a_share_of_errors_ends_the_work_and_what_is_judged_is_kept(serve: Serve, tmp_path: Path) -> None:
    broken = [True]

    def answer(exchange: Exchange, text: str) -> None:
        exchange.refuse(503, "the engine is dead") if "lost" in text and broken else right(exchange, text)

    judge, server = serve(answer, retries=0, concurrency=1)
    labels = write_labels(tmp_path, [f"{'lost' if number > 5 else 'kept'} {number}" for number in range(40)])
    for arguments in (
        ("judge", "report", judge, "--labels", labels),
        ("label", write_candidates(tmp_path, [f"lost {n}" for n in range(40)]), "--judge", judge, "-o",
         str(tmp_path / "p.parquet")),
    ):  # fmt: skip
        _, told = run(*arguments, code=1)
        line = told.strip().splitlines()[-1]
        assert line.startswith(f"rlaif: m at {server.url}: ")
        assert "of the last 2" in line
        assert "HTTP 503: the engine is dead" in line
    broken.clear()
    before = len(server.requests)
    found = json.loads(run("judge", "report", judge, "--labels", labels, "--json")[0])
    assert found["figures"]["accuracy"]["value"] == 1.0
    assert len(server.requests) - before <= 1 + 2 * 34


def test_a_dead_endpoint_ends_the_work_and_a_busy_one_is_counted(serve: Serve, tmp_path: Path) -> None:
    labels = write_labels(tmp_path, ["q1", "q2"])
    judge, server = serve(lambda exchange, text: exchange.refuse(503, "busy"), retries=0)
    assert json.loads(run("judge", "report", judge, "--labels", labels, "--json")[0])["errors"]["share"] == 1.0
    _, told = run("judge", "check", judge, "--ask", code=1)
    assert f"m at {server.url} cannot be asked: HTTP 503: busy" in told
    server.shutdown()
    server.server_close()
    _, told = run("judge", "report", judge, "--labels", labels, code=1)
    assert "cannot be asked: no connection" in told


def test_what_a_model_refuses_is_said_once_on_standard_error(serve: Serve, tmp_path: Path) -> None:
    def answer(exchange: Exchange, text: str) -> None:
        if "max_tokens" in exchange.server.requests[-1]:
            return exchange.refuse(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        return right(exchange, text)

    judge, server = serve(answer, concurrency=1)
    shown, told = run("judge", "report", judge, "--labels", write_labels(tmp_path, ["q1", "q2"]), "--json")
    assert json.loads(shown)["errors"]["labels"] == 0
    assert told.count("refuses max_tokens: max_completion_tokens is sent instead") == 1
    assert sum("max_tokens" in request for request in server.requests) == 1


def test_a_labelling_says_how_many_comparisons_failed(serve: Serve, tmp_path: Path) -> None:
    def answer(exchange: Exchange, text: str) -> None:
        exchange.say("") if "odd one" in text else right(exchange, text)

    judge, _ = serve(answer)
    candidates, output = write_candidates(tmp_path, ["q1", "an odd one"]), str(tmp_path / "pairs.parquet")
    shown, _ = run("label", candidates, "--judge", judge, "-o", output)
    assert "1 error, 1 ok, errors on 50.0% of the comparisons" in shown
    found = json.loads(run("label", candidates, "--judge", judge, "-o", output, "--json")[0])
    assert (found["counts"]["by_status"]["error"], found["counts"]["error_share"]) == (1, 0.5)


def test_an_endpoint_is_asked_alone_with_check(serve: Serve) -> None:
    judge, server = serve(lambda exchange, text: exchange.say("[[A]]"))
    assert f"m at {server.url}: answers" in run("judge", "check", judge, "--ask")[0]
    assert len(server.requests) == 1
    assert "asks no endpoint" in run("judge", "check", "reference", "--ask")[0]
    assert "--ask expects a judge file" in run("judge", "check", "answer", "--ask", code=2)[1]
