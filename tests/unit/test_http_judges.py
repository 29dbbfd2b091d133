"""Judges that are URLs of the user's: what is sent, what is read, and all that can be wrong with a reply."""

import email.utils
import json
import math
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rlaif.errors import UserError, WorkError
from rlaif.inference.response_cache import ResponseCache
from rlaif.judges.build import check_environment
from rlaif.judges.judge_file import load_judge_file
from tests.endpoint import Exchange, endpoint
from tests.own_judges import asked, failed, http_judge


def answering(value: Any) -> Callable[[Exchange, int], None]:
    return lambda exchange, number: exchange.send(200, json.dumps(value).encode())


def test_a_url_is_sent_the_question_and_its_answer_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "very-secret")
    with endpoint(answering({"scores": [0.5, 2], "model": "mine"})) as server:
        path = http_judge(tmp_path, server, "headers: {Authorization: 'Bearer ${JUDGE_KEY}'}")
        verdicts, (decision,) = asked(path)
    assert [verdict.score for verdict in verdicts] == [0.5, 2.0]
    assert decision.preference == 0.0
    assert server.requests == [
        {"id": "q", "question": "Sales?", "candidates": ["$7", "$8"], "gold_answer": "$7", "context": "Sales were $7."}
    ]
    assert server.headers[0]["authorization"] == "Bearer very-secret"
    spec = load_judge_file(str(path))
    assert "very-secret" not in f"{spec!r}{spec.describe()}"
    monkeypatch.delenv("JUDGE_KEY")
    with pytest.raises(UserError, match=r"environment variable JUDGE_KEY, which is not set \(headers\.Authorization"):
        check_environment(spec)


@pytest.mark.parametrize("preferences", [[[None, 0.9], [0.1, None]], {"0": {"1": 0.9}}])
def test_a_url_answers_with_preferences(preferences: Any, tmp_path: Path) -> None:
    with endpoint(answering({"preferences": preferences})) as server:
        _, (decision,) = asked(http_judge(tmp_path, server))
    assert decision.preference == 0.9


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, b"down for repairs", "HTTP 500: down for repairs"),
        (404, b"", "HTTP 404: Not Found"),
        (302, b"elsewhere", "HTTP 302: redirects to another place; expected the URL that answers"),
        (200, b"A is better", "malformed answer: Expecting value"),
        (200, b"\xff\xfe", "malformed answer: "),
        (200, b"[" * 100_000, "malformed answer: nested too deep"),
        (200, b"null", "expected either scores or preferences, found None"),
        (200, b'{"scores": [1, 2], "preferences": []}', "expected either scores or preferences"),
        (200, b'{"scores": [1]}', "scores: expected 2 values, one for each candidate, found 1"),
        (200, b'{"scores": [1, NaN]}', "scores[1]: expected a finite number, found nan"),
        (200, b'{"scores": [1, true]}', "scores[1]: expected a number or null, found True"),
        (200, b'{"scores": "high"}', "scores: expected a list of 2, found 'high'"),
        (200, b'{"preferences": {"a": {"0": 1}}}', "preferences: expected indices of candidates"),
        (200, b'{"scores": [1, 2], "more": "' + b"x" * (1 << 20) + b'"}', "more than 1,048,576 bytes"),
    ],
)  # fmt: skip
def test_a_wrong_reply_of_a_url_is_an_error_of_one_line(status: int, body: bytes, reason: str, tmp_path: Path) -> None:
    with endpoint(lambda exchange, number: exchange.send(status, body)) as server:
        assert reason in failed(asked(http_judge(tmp_path, server)))


def test_a_url_that_is_slow_or_not_there_is_an_error(tmp_path: Path) -> None:
    def trickle(exchange: Exchange, number: int) -> None:
        exchange.send_response(200)
        exchange.send_header("Content-Length", "100")
        exchange.end_headers()
        for _ in range(100):
            exchange.wfile.write(b" ")
            exchange.wfile.flush()
            time.sleep(0.05)

    with endpoint(trickle) as server:
        assert failed(asked(http_judge(tmp_path, server, "timeout: 0.3"))) == "no answer in 0.3 seconds"
    assert failed(asked(http_judge(tmp_path, server))).startswith("no connection: ")
    with endpoint(lambda exchange, number: exchange.hang_up()) as server:
        assert failed(asked(http_judge(tmp_path, server))).startswith("no connection: ")


def test_a_url_is_tried_again_only_where_that_may_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlaif.inference.retrying.FIRST_PAUSE", 0.01)

    def late(exchange: Exchange, number: int) -> None:
        failures = (lambda: exchange.send(503, b"busy"), lambda: exchange.send(200, b"?"), exchange.hang_up)
        failures[number - 1]() if number <= len(failures) else exchange.send(200, b'{"scores": [1, 2]}')

    with endpoint(late) as server:
        path = http_judge(tmp_path, server)
        path.write_text(path.read_text(encoding="utf-8").replace("retries: 0", "retries: 3"), encoding="utf-8")
        assert [verdict.score for verdict in asked(path)[0]] == [1.0, 2.0]
    with endpoint(lambda exchange, number: exchange.send(429, b"slow down")) as server:
        path.write_text(f"kind: http\nurl: {server.url}\nretries: 2\n", encoding="utf-8")
        assert failed(asked(path)) == "HTTP 429: slow down (3 tries)"
    with endpoint(lambda exchange, number: exchange.send(403, b"no")) as server:
        path.write_text(f"kind: http\nurl: {server.url}\nretries: 2\n", encoding="utf-8")
        assert failed(asked(path)) == "HTTP 403: no"
        assert len(server.requests) == 1


def test_no_failure_quotes_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "very-secret")
    with endpoint(lambda exchange, number: exchange.send(401, b"bad key very-secret")) as server:
        path = http_judge(tmp_path, server, "headers: {Authorization: 'Bearer ${JUDGE_KEY}'}")
        assert failed(asked(path)) == "HTTP 401: bad key ***"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("url: ftp://x", "url: expected a URL such as"),
        ("url: http://me:secret@x/", "url: holds a credential or a query"),
        ("url: http://x/\nheaders: {'a b': c}", "headers: 'a b' is no header's name"),
        ("url: http://x/\nheaders: {X-N: 3}", "headers: X-N: expected a text of printable ASCII characters"),
    ],
)
def test_an_http_judge_file_is_checked(line: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "url.yaml").write_text(f"kind: http\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_judge_file(str(tmp_path / "url.yaml"))
    assert problem in str(caught.value)


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    """The other server would be sent the headers, and with them what is secret."""
    with endpoint(answering({"scores": [1, 2]})) as other:
        where = f"{other.url.replace('http://', 'http://user:word@')}?token=1"
        with endpoint(lambda exchange, number: exchange.send(307, b"", Location=where)) as server:
            text = failed(asked(http_judge(tmp_path, server, "headers: {X-Key: very-secret}")))
    assert text == f"HTTP 307: redirects to {other.url}; expected the URL that answers"
    assert other.requests == []


def test_only_what_is_read_of_an_answer_is_kept(tmp_path: Path) -> None:
    with (
        endpoint(answering({"scores": [1, 2], "trace": "long"})) as server,
        closing(ResponseCache(tmp_path / "cache.sqlite")) as cache,
    ):
        for _ in range(2):
            assert [verdict.score for verdict in asked(http_judge(tmp_path, server), cache=cache)[0]] == [1.0, 2.0]
    assert len(server.requests) == 1
    with closing(sqlite3.connect(tmp_path / "cache.sqlite")) as connection:
        ((kept,),) = connection.execute("SELECT reply FROM replies").fetchall()
    assert json.loads(kept)["answer"] == {"scores": [1, 2]}


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [("0.4", 0.4, 5.0), ("DATE", 0.9, 5.0), ("-3", 0.0, 0.4), ("soon", 0.0, 0.4), ("nan", 0.0, 0.4), ("inf", 0.0, 0.4)],
)
def test_a_url_that_asks_to_wait_is_waited_for(
    value: str, least: float, most: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlaif.inference.retrying.FIRST_PAUSE", 0.01)

    def answer(exchange: Exchange, number: int) -> None:
        if number > 1:
            return exchange.send(200, b'{"scores": [1, 2]}')
        # A date has whole seconds, so it asks for between one and two of them.
        date = email.utils.formatdate(math.ceil(time.time()) + 1, usegmt=True)
        return exchange.send(429, b"slow down", Retry_After=date if value == "DATE" else value)

    with endpoint(answer) as server:
        path = http_judge(tmp_path, server)
        path.write_text(path.read_text(encoding="utf-8").replace("retries: 0", "retries: 1"), encoding="utf-8")
        assert [verdict.score for verdict in asked(path)[0]] == [1.0, 2.0]
    assert least <= server.times[1] - server.times[0] < most


def test_a_url_that_mostly_fails_ends_the_work(tmp_path: Path) -> None:
    with endpoint(lambda exchange, number: exchange.send(500, b"down")) as server:
        with pytest.raises(
            WorkError, match=r"judge url: 20 of the last 20 questions failed, .*\(0\.5\).*HTTP 500: down"
        ):
            asked(http_judge(tmp_path, server), times=30)
        assert len(server.requests) == 20
        assert "HTTP 500" in failed(asked(http_judge(tmp_path, server, "max_error_share: 1"), times=30))


def test_our_own_words_hide_nothing(tmp_path: Path) -> None:
    with endpoint(lambda exchange, number: exchange.send(200, b"malformed answer")) as server:
        text = failed(asked(http_judge(tmp_path, server, "headers: {X-Mode: malformed, X-More: please answer}")))
    assert text.startswith("malformed answer: Expecting value")
