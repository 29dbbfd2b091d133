"""Judges of the user's own for tests: their files, and what comes of asking them."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from rlaif.data.question import Question
from rlaif.inference.response_cache import ResponseCache
from rlaif.judges.build import open_judge
from rlaif.judges.judge import Decision, Verdict
from rlaif.judges.judge_file import load_judge_file
from tests.endpoint import Endpoint

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
