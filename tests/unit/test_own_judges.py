"""Judges of the user's own: functions in processes and URLs, with all that can be wrong with what they answer."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.data.question import Question
from rlaif.errors import UserError, WorkError
from rlaif.inference.response_cache import ResponseCache
from rlaif.judges.build import check_environment, open_judge
from rlaif.judges.judge import Decision, Verdict
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.own_answer import read_answer
from tests.endpoint import Endpoint, Exchange, endpoint

QUESTION = Question("q", "Sales?", "Sales were $7.", "$7")
Asked = tuple[list[Verdict], list[Decision]]


def asked(
    path: Path, answers: Sequence[str] = ("$7", "$8"), cache: ResponseCache | None = None, times: int = 1
) -> Asked:
    async def ask() -> Asked:
        async with open_judge(load_judge_file(str(path)), None, cache=cache) as judge:  # type: ignore[arg-type]
            for _ in range(times):
                verdicts = await judge.verdicts(QUESTION, answers)
            return verdicts, judge.decide("q", len(answers), verdicts)

    return asyncio.run(ask())


def python_judge(folder: Path, body: str, settings: str = "timeout: 20", head: str = "") -> Path:
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    code = f"{head}\ndef judge(question, candidates, gold_answer, context):\n{lines}"
    (folder / "mine.py").write_text(code, encoding="utf-8")
    (folder / "mine.yaml").write_text(f"kind: python\nfile: mine.py\n{settings}\n", encoding="utf-8")
    return folder / "mine.yaml"


def http_judge(folder: Path, server: Endpoint, settings: str = "") -> Path:
    (folder / "url.yaml").write_text(f"kind: http\nurl: {server.url}\nretries: 0\n{settings}\n", encoding="utf-8")
    return folder / "url.yaml"


def failed(found: Asked) -> str:
    """Return why all verdicts and decisions are errors, and hold it to one line without a traceback of ours."""
    verdicts, decisions = found
    assert {verdict.status for verdict in verdicts} == {decision.status for decision in decisions} == {"error"}
    assert all(verdict.preference is None and verdict.score is None for verdict in verdicts)
    (text,) = {verdict.text for verdict in verdicts}
    assert "\n" not in text
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize(
    ("returned", "scores"),
    [
        ("[len(c) for c in candidates]", {0: 2.0, 1: 3.0}),
        ("(0.25, None)", {0: 0.25}),
        ("[c == gold_answer for c in candidates]", {0: 1.0, 1: 0.0}),
        ("{'scores': [1, 2]}", {0: 1.0, 1: 2.0}),
        ("__import__('numpy').array([0.5, 1.5], dtype='float32')", {0: 0.5, 1: 1.5}),
        ("[__import__('fractions').Fraction(1, 2), __import__('numpy').int64(3)]", {0: 0.5, 1: 3.0}),
        ("[None, None]", {}),
    ],
)
def test_a_function_returns_scores(returned: str, scores: dict[int, float], tmp_path: Path) -> None:
    verdicts, decisions = asked(python_judge(tmp_path, f"return {returned}"), ("$7", "$8m"))
    assert {verdict.first: verdict.score for verdict in verdicts} == scores
    assert {verdict.status for verdict in verdicts} <= {"ok"}
    # A candidate without a score is not decided on: that is left to another judge.
    assert len(decisions) == (len(scores) == 2)


@pytest.mark.parametrize(
    "returned",
    [
        "[[None, 0.9, 0.8], [0.1, None, 0.5], [0.2, 0.5, float('nan')]]",
        "{(0, 1): 0.9, (1, 0): 0.1, (0, 2): 0.8, (2, 0): 0.2, (1, 2): 0.5, (2, 1): 0.5}",
        "{0: {1: 0.9, 2: 0.8}, 1: {0: 0.1, 2: 0.5}, 2: {0: 0.2, 1: 0.5}}",
        "__import__('numpy').array([[0.5, 0.9, 0.8], [0.1, 0.5, 0.5], [0.2, 0.5, 0.5]])",
    ],
)
def test_a_function_returns_preferences(returned: str, tmp_path: Path) -> None:
    verdicts, decisions = asked(python_judge(tmp_path, f"return {returned}"), ("a", "b", "c"))
    assert {(v.first, v.second, v.order, v.preference) for v in verdicts} == {
        (0, 1, "ab", 0.9), (0, 1, "ba", 0.9), (0, 2, "ab", 0.8), (0, 2, "ba", 0.8),
        (1, 2, "ab", None), (1, 2, "ba", None),
    }  # fmt: skip
    assert [(d.first, d.second, d.status, d.preference) for d in decisions] == [
        (0, 1, "ok", 0.9), (0, 2, "ok", 0.8), (1, 2, "tie", None),
    ]  # fmt: skip


def test_preferences_that_contradict_each_other_tie_and_missing_ones_decide_nothing(tmp_path: Path) -> None:
    _, decisions = asked(python_judge(tmp_path, "return {(0, 1): 0.9, (1, 0): 0.9, (2, 0): 0.9}"), ("a", "b", "c"))
    assert [(d.first, d.second, d.status, d.preference) for d in decisions] == [
        (0, 1, "tie", None), (0, 2, "ok", pytest.approx(0.1)),
    ]  # fmt: skip


def test_thinking_is_not_shown(tmp_path: Path) -> None:
    verdicts, _ = asked(python_judge(tmp_path, "return [len(c) for c in candidates]"), ("<think>long</think>$7", "$8m"))
    assert [verdict.score for verdict in verdicts] == [2.0, 3.0]


def test_equal_texts_have_one_score_and_no_preference(tmp_path: Path) -> None:
    verdicts, decisions = asked(python_judge(tmp_path, "return [0.1, 0.7]"), ("$7", " $7"))
    assert ([verdict.score for verdict in verdicts], decisions[0].status) == ([0.1, 0.1], "tie")
    _, decisions = asked(python_judge(tmp_path, "return {(0, 1): 0.9}"), ("$7", " $7"))
    assert decisions[0].status == "tie"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise ValueError('no figure\\nhere')", "here (mine.py:3)"),
        ("return 1 / 0", "ZeroDivisionError: division by zero (mine.py:3)"),
        ("import sys\nsys.exit(3)", "SystemExit: 3 (mine.py:4)"),
        ("return helper()", "NameError: name 'helper' is not defined (mine.py:3)"),
        ("import json\njson.loads('{')", "(mine.py:4)"),
        ("import os\nos._exit(3)", "the process ended: exit code 3"),
        ("import os\nos.kill(os.getpid(), 11)", "the process ended: signal SIGSEGV"),
        ("return None", "expected either scores or preferences, found None"),
        ("return 'A'", "expected either scores or preferences, found 'A'"),
        ("return [1]", "scores: expected 2 values, one for each candidate, found 1"),
        ("return [1, 'high']", "scores[1]: expected a number or null, found 'high'"),
        ("return [1, float('inf')]", "scores[1]: expected a finite number, found inf"),
        ("return [float('nan'), 1]", "scores[0]: expected a finite number, found nan"),
        ("return [10 ** 400, 1]", "scores[0]: expected a finite number, found inf"),
        ("return [[0.5, 1.5], [0, 0.5]]", "preferences[0][1]: expected a probability from 0 to 1, found 1.5"),
        ("return [[0.5, 0.5]]", "preferences: expected 2 values"),
        ("return {(0, 2): 0.5}", "preferences: expected indices of candidates from 0 to 1, found '2'"),
        ("return {0: 0.5}", "preferences[0]: expected preferences over other candidates, found 0.5"),
        ("return object()", "expected either scores or preferences, found '<object object"),
        ("return [0.1] * 1_000_000", "bytes; expected at most 1,048,576"),
        ("return '\\udc80'", "found '\\udc80'"),
        ("raise ValueError('\\udc80')", "ValueError: \\udc80"),
    ],
)  # fmt: skip
def test_what_goes_wrong_in_a_function_is_an_error_of_one_line(
    body: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = failed(asked(python_judge(tmp_path, body)))
    assert reason in text
    text.encode()


def test_a_process_that_hangs_is_killed_with_what_it_started_and_replaced(tmp_path: Path) -> None:
    body = (
        "import os, pathlib, subprocess, time\n"
        f"pids = pathlib.Path({str(tmp_path / 'pids')!r})\n"
        "if '$9' not in candidates:\n    return [1, 2]\n"
        "pids.write_text(f\"{os.getpid()} {subprocess.Popen(['sleep', '600']).pid}\")\n"
        "time.sleep(600)"
    )
    path = python_judge(tmp_path, body, "timeout: 1\nprocesses: 1")

    async def ask() -> tuple[list[Verdict], list[Verdict]]:
        async with open_judge(load_judge_file(str(path)), None) as judge:  # type: ignore[arg-type]
            return await judge.verdicts(QUESTION, ["$7", "$9"]), await judge.verdicts(QUESTION, ["$7", "$8"])

    started = time.monotonic()
    hanging, answered = asyncio.run(ask())
    assert time.monotonic() - started < 20
    assert {verdict.text for verdict in hanging} == {"no answer in 1 seconds"}
    assert [verdict.score for verdict in answered] == [1.0, 2.0]
    for pid in map(int, (tmp_path / "pids").read_text(encoding="utf-8").split()):
        assert not runs(pid)


def runs(pid: int) -> bool:
    """Whether a process runs, after a moment in which the system may reap it."""
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return False
        if state == "Z":
            return False
        time.sleep(0.02)
    return True


def test_what_a_function_prints_or_reads_disturbs_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    body = "import os, sys\nprint('{}')\nos.system('echo loud; echo loud >&2')\nsys.stderr.write('x')\nreturn [1, 2]"
    verdicts, _ = asked(python_judge(tmp_path, body, head="print('loaded')"))
    assert [verdict.score for verdict in verdicts] == [1.0, 2.0]
    assert capfd.readouterr() == ("", "")
    assert "EOFError" in failed(asked(python_judge(tmp_path, "return input()")))


def test_a_function_keeps_its_state_and_imports_what_lies_beside_it(tmp_path: Path) -> None:
    # A name of one of our own modules, which must not be found instead.
    (tmp_path / "panel.py").write_text("def score(text):\n    return len(text)\n", encoding="utf-8")
    head = "from panel import score\ncalls = []"
    path = python_judge(tmp_path, "calls.append(1)\nreturn [len(calls), score('four')]", "processes: 1", head)
    assert [verdict.score for verdict in asked(path, times=3)[0]] == [3.0, 4.0]


def test_the_processes_end_with_the_judge_and_with_its_parent(tmp_path: Path) -> None:
    path = python_judge(tmp_path, "import os\nreturn [os.getpid(), os.getppid()]")
    (worker, parent), _ = asked(path)
    assert parent.score == os.getpid()
    assert worker.score is not None
    assert not runs(int(worker.score))


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("import no_such_module", "mine.py:1)"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import os; os._exit(7)", "the process ended: exit code 7"),
        ("import time; time.sleep(600)", "no answer in 1 seconds"),
    ],
)
def test_a_file_that_cannot_be_loaded_stops_the_work(head: str, reason: str, tmp_path: Path) -> None:
    path = python_judge(tmp_path, "return [1, 2]", "load_timeout: 1" if "sleep" in head else "", head)
    with pytest.raises(WorkError, match=r"mine\.py cannot be loaded: ") as caught:
        asked(path)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("def other(): ...", "mine.yaml:3: function: "),
        ("def judge(question, candidates): ...", "mine.py:1: judge: expected the arguments question, candidates, gold"),
        ("def judge(a, b, c, d, e): ...", "mine.py:1: judge: expected the arguments"),
        ("async def judge(*rest): ...", "mine.py:1: judge: expected a plain function"),
        ("x = 1\ndef judge(:", "mine.py:2: not Python: "),
        (b"\xff", "mine.py is not UTF-8 at byte 0"),
    ],
)
def test_a_file_is_checked_without_running_it(code: str | bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("kind: python\nfile: mine.py\nfunction: judge\n", encoding="utf-8")
    (tmp_path / "mine.py").write_bytes(code if isinstance(code, bytes) else code.encode())
    with pytest.raises(UserError) as caught:
        load_judge_file(str(tmp_path / "mine.yaml"))
    assert problem in str(caught.value)


def test_reading_a_judge_file_runs_nothing_and_a_service_can_refuse_it(tmp_path: Path) -> None:
    path = python_judge(tmp_path, "return [1, 2]", head=f"open({str(tmp_path / 'ran')!r}, 'w')")
    load_judge_file(str(path))
    assert not (tmp_path / "ran").exists()
    (tmp_path / "panel.yaml").write_text("kind: panel\nmode: mean\njudges: [reference, ./mine.yaml]\n", "utf-8")
    load_judge_file(str(tmp_path / "panel.yaml"))
    for name in ("mine", "panel"):
        with pytest.raises(UserError, match="kind: judges of kind python are not accepted here"):
            load_judge_file(str(tmp_path / f"{name}.yaml"), refused_kinds={"python"})


def test_the_sha_covers_the_code_and_nothing_about_speed(tmp_path: Path) -> None:
    def sha(body: str = "return [1, 2]", settings: str = "", head: str = "") -> str:
        return load_judge_file(str(python_judge(tmp_path, body, settings, head))).sha

    assert sha() == sha(settings="timeout: 5\nprocesses: 7\nload_timeout: 3\nfunction: judge")
    different = {sha(), sha("return [1, 3]"), sha(settings="version: '2'"), sha(settings="function: x", head="x = 1")}
    assert len(different) == 4


def test_answers_are_kept_and_failures_are_not(tmp_path: Path) -> None:
    marks = tmp_path / "calls"
    body = (
        f"open({str(marks)!r}, 'a').write('x')\n"
        "if len(open(" + repr(str(marks)) + ").read()) == 1:\n    raise ValueError('first')\n"
        "return [1, 2]"
    )
    path, cache = python_judge(tmp_path, body), ResponseCache(tmp_path / "cache.sqlite", free=False)
    assert "first" in failed(asked(path, cache=cache))
    first, _ = asked(path, cache=cache)
    again, _ = asked(path, cache=cache)
    assert [verdict.score for verdict in first] == [1.0, 2.0]
    assert first == again
    assert first[0].seconds > 0
    assert marks.read_text(encoding="utf-8") == "xx"
    asked(python_judge(tmp_path, body, "version: later"), cache=cache)
    assert marks.read_text(encoding="utf-8") == "xxx"
    cache.close()


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
        (302, b"elsewhere", "HTTP 302: elsewhere"),
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
    monkeypatch.setattr("rlaif.judges.http_judge._PAUSE", 0.01)

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


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("012ab"), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["scores", "preferences"]), _JSON, max_size=2) | _JSON, st.integers(1, 3))
def test_any_answer_is_read_as_numbers_or_refused(answer: Any, count: int) -> None:
    try:
        read = read_answer(answer, count)
    except ValueError:
        return
    assert all(0 <= index < count for index in read.scores)
    assert all(abs(score) < float("inf") for score in read.scores.values())
    assert all(0 <= value <= 1 and i != j for (i, j), value in read.preferences.items())


def test_the_examples_work(tmp_path: Path) -> None:
    examples = Path(__file__).parents[2] / "examples" / "judges"
    _, (decision,) = asked(examples / "figures.yaml", ("Sales were $7.", "Sales were $8."))
    assert (decision.status, decision.preference) == ("ok", 1.0)
    assert asked(examples / "figures.yaml", ("High.", "Low.")) == ([], [])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, str(examples / "server.py"), str(port)], stderr=subprocess.DEVNULL)
    try:
        mine = (examples / "server.yaml").read_text(encoding="utf-8").replace("8765", str(port))
        (tmp_path / "mine.yaml").write_text(mine.replace("retries: 2", "retries: 9"), encoding="utf-8")
        _, (decision,) = asked(tmp_path / "mine.yaml")
    finally:
        server.kill()
        server.wait()
    assert (decision.status, decision.preference) == ("ok", pytest.approx(2 / 3))
