"""Judges that are functions of the user's: their files, their processes, and all that can go wrong in them."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlaif.errors import UserError, WorkError
from rlaif.judges.build import build_judge, open_judge
from rlaif.judges.judge import Verdict
from rlaif.judges.judge_file import load_judge_file
from tests.own_judges import QUESTION, asked, failed, python_judge, runs


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


def test_the_processes_end_with_the_judge(tmp_path: Path) -> None:
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
    assert len({sha(), sha("return [1, 3]"), sha(settings="version: '2'")}) == 3
    assert sha(head="x = judge = 1") != sha(settings="function: x", head="x = judge = 1")


def test_a_child_that_outlives_its_process_delays_nothing(tmp_path: Path) -> None:
    """A child in a session of its own is not killed, and holds what was its parent's output."""
    body = (
        "import os, pathlib, time\n"
        "if '$9' not in candidates:\n    return [1, 2]\n"
        "if child := os.fork():\n"
        f"    pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(child))\n"
        "else:\n    os.setsid()\n"
        "time.sleep(600)"
    )
    path = python_judge(tmp_path, body, "timeout: 1\nprocesses: 1")
    started = time.monotonic()
    try:
        assert failed(asked(path, ("$7", "$9"))) == "no answer in 1 seconds"
        assert time.monotonic() - started < 20
    finally:
        os.kill(int((tmp_path / "pid").read_text(encoding="utf-8")), signal.SIGKILL)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "import sys\nsys.setrecursionlimit(20_000)\nnested = 1\n"
            "for _ in range(3_000):\n    nested = [nested]\nreturn {'scores': nested}",
            "the process answered what is no answer",
        ),
        (
            "import os\nfor number in range(3, 30):\n    try:\n        os.write(number, b'{}\\n')\n        break\n"
            "    except OSError:\n        pass",
            "judge returned no judgment: the process answered with the keys []",
        ),
    ],
)
def test_a_reply_of_another_form_is_an_error_of_one_line(body: str, reason: str, tmp_path: Path) -> None:
    assert failed(asked(python_judge(tmp_path, body))) == reason


def test_another_event_loop_ends_the_processes_of_the_one_before(tmp_path: Path) -> None:
    path = python_judge(tmp_path, "import os\nreturn [os.getpid(), 0]")
    judge = build_judge(load_judge_file(str(path)), None)  # type: ignore[arg-type]
    (first, _), (second, _) = (asyncio.run(judge.verdicts(QUESTION, ["$7", "$8"])) for _ in range(2))
    assert first.score != second.score
    try:
        assert not runs(int(first.score or 0))
    finally:
        os.kill(int(second.score or 0), signal.SIGKILL)


def test_a_question_that_waits_when_the_judge_is_closed_starts_no_process(tmp_path: Path) -> None:
    path = python_judge(tmp_path, "import time\ntime.sleep(600)", "processes: 1")

    async def ask() -> list[BaseException | list[Verdict]]:
        async with open_judge(load_judge_file(str(path)), None) as judge:  # type: ignore[arg-type]
            left = [asyncio.create_task(judge.verdicts(QUESTION, ["$7", answer])) for answer in ("$8", "$9")]
            await asyncio.sleep(0.5)
        return await asyncio.gather(*left, return_exceptions=True)

    started = time.monotonic()
    _, waiting = asyncio.run(ask())
    assert isinstance(waiting, WorkError)
    assert str(waiting) == "judge mine was closed while questions were left"
    assert time.monotonic() - started < 20


def test_the_processes_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    body = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(f'{{os.getpid()}}\\n')\ntime.sleep(600)"
    path = python_judge(tmp_path, body)
    ask = f"from pathlib import Path\nfrom tests.own_judges import asked\nasked(Path({str(path)!r}))"
    parent = subprocess.Popen([sys.executable, "-c", ask], cwd=Path(__file__).parents[2])
    try:
        for _ in range(1500):
            if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(encoding="utf-8").endswith("\n"):
                break
            time.sleep(0.02)
    finally:
        parent.kill()
        parent.wait()
    assert not runs(int((tmp_path / "pid").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("code", "fits"),
    [
        ("def judge(*rest): return [1, 2]", True),
        ("def judge(a, b, c, d, *, e=1): return [1, 2]", True),
        ("def judge(a, b, c, d, *, e): return [1, 2]", False),
        ("def judge(*rest, e): return [1, 2]", False),
        # What a decorator returns may take other arguments.
        ("def four(f): return lambda *rest: f(1)\n@four\ndef judge(a): return [1, 2]", True),
        ("def plain(f): return lambda *rest: [1, 2]\n@plain\nasync def judge(a): ...", True),
    ],
)
def test_a_functions_arguments_are_checked_as_it_is_called(code: str, fits: bool, tmp_path: Path) -> None:
    path = python_judge(tmp_path, "")
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    if fits:
        assert [verdict.score for verdict in asked(path)[0]] == [1.0, 2.0]
    else:
        with pytest.raises(UserError, match="judge: expected the arguments question, candidates, gold_answer, context"):
            load_judge_file(str(path))
