"""What a judge is asked before the work, so that one which cannot answer ends it before engines start."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.data.question import Question
from rlaif.errors import Notice, WorkError
from rlaif.inference.response_cache import ResponseCache
from rlaif.judges.build import open_judge
from rlaif.judges.endpoints import SMALL_ANSWERS, Trial, smallest
from rlaif.judges.judge import Verdict
from rlaif.judges.judge_file import load_judge_file
from rlaif.rounds.run import _trial
from tests.endpoint import endpoint
from tests.own_judges import http_judge, python_judge

QUESTIONS = [Question(f"q{number}", "?" * number) for number in range(1, 10)]
SOME = Trial(engines=True, own=tuple((question, ("a", "b")) for question in QUESTIONS[:3]))


def opened(
    path: Path, trial: Trial, asked: Sequence[Question] = (), cache: ResponseCache | None = None
) -> list[Verdict]:
    """Open a judge after a trial, and return its verdicts on questions."""

    async def work() -> list[Verdict]:
        async with open_judge(load_judge_file(str(path)), None, cache=cache, trial=trial) as judge:  # type: ignore[arg-type]
            return [verdict for each in asked for verdict in await judge.verdicts(each, ["a", "b"])]

    return asyncio.run(work())


def test_a_function_that_fails_on_all_it_is_tried_on_ends_the_work_before_engines_start(tmp_path: Path) -> None:
    path = python_judge(tmp_path, f"open({str(tmp_path / 'asked')!r}, 'a').write('x')\nraise ValueError('no figure')")
    with pytest.raises(WorkError, match=r"^judge mine fails before engines start: ValueError: no figure") as ended:
        opened(path, SOME)
    assert "\n" not in str(ended.value)
    assert (tmp_path / "asked").read_text(encoding="utf-8") == "xxx"
    with pytest.warns(Notice, match=r"^judge mine failed before the work began: ValueError: no figure"):
        opened(path, Trial())
    path.write_text(path.read_text(encoding="utf-8") + "max_error_share: 1\n", encoding="utf-8")
    with pytest.warns(Notice, match="ValueError: no figure"):
        opened(path, SOME)


def test_a_function_that_fails_on_some_questions_is_tried_on_others(tmp_path: Path) -> None:
    opened(python_judge(tmp_path, "assert question != '?'\nreturn [1, 2]"), SOME)


def test_a_file_that_cannot_be_loaded_ends_the_work_before_engines_start(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"mine\.py cannot be loaded: ModuleNotFoundError"):
        opened(python_judge(tmp_path, "return [1, 2]", head="import no_such_module"), Trial())


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, b"nothing here", "HTTP 404: nothing here"),
        (401, b"no key", "HTTP 401: no key"),
        (307, b"", "HTTP 307: redirects to another place; expected the URL that answers"),
        (200, b"<html>", "malformed answer: Expecting value"),
    ],
)
def test_a_url_that_is_no_judge_ends_the_work_before_it_begins(
    status: int, body: bytes, reason: str, tmp_path: Path
) -> None:
    with (
        endpoint(lambda exchange, number: exchange.send(status, body)) as server,
        pytest.raises(WorkError, match=f"^judge url cannot be asked: {reason}"),
    ):
        opened(http_judge(tmp_path, server), Trial())
    assert len(server.requests) == 1


def test_a_url_that_is_not_there_ends_the_work_before_it_begins(tmp_path: Path) -> None:
    with endpoint(lambda exchange, number: None) as server:
        path = http_judge(tmp_path, server)
    with pytest.raises(WorkError, match=r"^judge url cannot be asked: no connection: "):
        opened(path, Trial())


def test_the_answer_is_kept_for_the_work(tmp_path: Path) -> None:
    with (
        endpoint(lambda exchange, number: exchange.send(200, b'{"scores": [1, 2]}')) as server,
        closing(ResponseCache(tmp_path / "cache.sqlite")) as cache,
    ):
        verdicts = opened(http_judge(tmp_path, server), SOME, QUESTIONS[:2], cache)
    assert [verdict.score for verdict in verdicts] == [1.0, 2.0] * 2
    assert [request["id"] for request in server.requests] == ["q1", "q2"]


def test_a_run_tries_code_on_questions_of_its_own_and_an_endpoint_on_a_small_one() -> None:
    setup: Any = SimpleNamespace(train=QUESTIONS[:6], heldout=QUESTIONS[6:])
    trial = _trial(setup)
    assert trial.engines
    assert [(question.id, answers) for question, answers in trial.own] == [
        ("q1", SMALL_ANSWERS), ("q4", SMALL_ANSWERS), ("q7", SMALL_ANSWERS),
    ]  # fmt: skip
    assert trial.question.id == "small"


def test_other_work_tries_its_smallest_question_and_code_on_some_more() -> None:
    asked = [(question, ("a", "b")) for question in QUESTIONS]
    trial = smallest([(QUESTIONS[0], ("same", "same")), *reversed(asked)], engines=False)
    assert (trial.question.id, [question.id for question, _ in trial.own]) == ("q1", ["q1", "q6", "q3"])
    assert smallest(asked[:1], engines=False).own == ((QUESTIONS[0], ("a", "b")),)


@pytest.mark.parametrize("body", [{"ok": True}, {"choices": []}, {"choices": [{"text": "[[A]]"}]}, ["[[A]]"], "up"])
def test_an_endpoint_that_answers_with_another_form_is_refused(
    body: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlaif.inference.retrying.FIRST_PAUSE", 0.01)
    with endpoint(lambda exchange, number: exchange.send_json(body)) as server:
        backend = {"type": "openai", "model": "m", "base_url": server.url, "api_key_env": None, "retries": 1}
        judge = {"kind": "llm", "prompt": "helpfulness", "reasoning": True, "backend": backend}
        (tmp_path / "j.yaml").write_text(json.dumps(judge), encoding="utf-8")
        with pytest.raises(WorkError, match=r"cannot be asked: malformed response: not a chat completion \(2 tries\)"):
            opened(tmp_path / "j.yaml", Trial())


def test_code_is_asked_alone_with_check(tmp_path: Path) -> None:
    path = python_judge(tmp_path, "return [1, 2]")
    found = CliRunner().invoke(app, ["judge", "check", str(path), "--ask"])
    assert (found.exit_code, f"judge of {tmp_path / 'mine.py'}: answers" in found.output) == (0, True)
    broken = CliRunner().invoke(app, ["judge", "check", str(python_judge(tmp_path, "return 1")), "--ask"])
    assert broken.exit_code == 1
    assert "expected either scores or preferences, found 1" in broken.output
