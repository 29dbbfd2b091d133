"""Asks judges about labels outside any run: one judge's report, two judges compared, one label tried."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing

from rlaif import __version__
from rlaif.data.labels import Label, labels_jsonl
from rlaif.judge_evals.attacks import ATTACKS, measure_attacks
from rlaif.judge_evals.comparison import JudgeComparison, compare
from rlaif.judge_evals.judge_report import JudgeReport, measure
from rlaif.judge_evals.judging import JudgedLabel, judge_label, judge_labels
from rlaif.judge_evals.routing import Routing, route
from rlaif.judges.endpoints import Trial, smallest
from rlaif.judges.judge import Judge
from rlaif.judges.serving import Serving
from rlaif.judges.session import JudgeSession, shown_bytes
from rlaif.judges.spec import JudgeSpec
from rlaif.progress import Progress
from rlaif.store.events import now

# Room for the text that an attack adds to an answer, in bytes. An attack that needs more counts as failed.
_ATTACK_BYTES = 4096


def measure_judge(
    spec: JudgeSpec,
    labels: Sequence[Label],
    serving: Serving,
    progress: Progress,
    *,
    path: str,
    attacks: int = 0,
    seed: int = 0,
) -> JudgeReport:
    """Ask a judge about all labels, attack its right verdicts, and measure it.

    Args:
        path: of the label file, for the report.
        attacks: most right verdicts that each of `ATTACKS` is tried on; 0 tries no attack.
        seed: of the intervals.

    Raises:
        UserError: a model that the judge asks does not exist.
        WorkError: an engine does not start, or the judge cannot go on.
    """

    async def work() -> JudgeReport:
        added = _ATTACK_BYTES if attacks else 0
        async with (
            _session([spec], labels, serving, progress, added_bytes=added) as session,
            session.open_judge(spec, free=False, trial=_trial([spec], labels)) as judge,
        ):
            judged = await _judge_labels(judge, labels, progress)
            resistance = None
            if attacks:
                right = min(attacks, sum(item.right for item in judged))
                progress.stage(f"{judge.name}: attack {right} right verdicts", right * len(ATTACKS))
                resistance = await measure_attacks(
                    judge, judged, ATTACKS, limit=attacks, on_judged=_shows(progress), seed=seed
                )
        prices = {leaf.sha: leaf.prices for leaf in spec.leaves if leaf.prices is not None}
        return JudgeReport(
            judge=spec.describe(),
            labels_path=path,
            labels_sha=hashlib.sha256(labels_jsonl(labels)).hexdigest(),
            models=session.served,
            written=now(),
            version=__version__,
            measurement=measure(judged, prices=prices, seed=seed),
            attacks=resistance,
            judged=judged,
        )

    return asyncio.run(work())


def compare_judges(
    first: JudgeSpec, second: JudgeSpec, labels: Sequence[Label], serving: Serving, *, progress: Progress, seed: int = 0
) -> JudgeComparison:
    """Ask two judges about the same labels and compare them; see `measure_judge`."""

    async def work() -> JudgeComparison:
        trial = _trial([first, second], labels)
        async with (
            _session([first, second], labels, serving, progress) as session,
            session.open_judge(first, free=False, trial=trial) as one,
            session.open_judge(second, free=False, trial=trial) as other,
        ):
            judged = [await _judge_labels(judge, labels, progress) for judge in (one, other)]
        return compare(judged[0], judged[1], seed=seed)

    return asyncio.run(work())


def route_judge(
    spec: JudgeSpec,
    labels: Sequence[Label],
    serving: Serving,
    progress: Progress,
    *,
    shares: Sequence[float],
    seed: int = 0,
) -> Routing:
    """Ask a judge about all labels, and measure what people's own labels on a share of them add; see `route`."""

    async def work() -> Routing:
        async with (
            _session([spec], labels, serving, progress) as session,
            session.open_judge(spec, free=False, trial=_trial([spec], labels)) as judge,
        ):
            return route(await _judge_labels(judge, labels, progress), shares, seed)

    return asyncio.run(work())


def try_judge(spec: JudgeSpec, label: Label, serving: Serving, progress: Progress) -> JudgedLabel:
    """Ask a judge about one label; see `measure_judge`."""

    async def work() -> JudgedLabel:
        async with (
            _session([spec], [label], serving, progress) as session,
            session.open_judge(spec, free=False) as judge,
        ):
            return await judge_label(judge, label)

    return asyncio.run(work())


def _session(
    specs: Sequence[JudgeSpec], labels: Sequence[Label], serving: Serving, progress: Progress, *, added_bytes: int = 0
) -> AbstractAsyncContextManager[JudgeSession]:
    longest = max(shown_bytes(label.as_question, label.answers) for label in labels) + added_bytes
    return aclosing(JudgeSession(specs, serving, progress, longest=longest))


def _trial(specs: Sequence[JudgeSpec], labels: Sequence[Label]) -> Trial:
    engines = any(spec.models for spec in specs)
    return smallest([(label.as_question, label.answers) for label in labels], engines=engines)


async def _judge_labels(judge: Judge, labels: Sequence[Label], progress: Progress) -> list[JudgedLabel]:
    progress.stage(f"{judge.name}: judge labels", len(labels))
    return await judge_labels(judge, labels, _shows(progress))


def _shows(progress: Progress) -> Callable[[JudgedLabel], None]:
    outcomes: Counter[str] = Counter()

    def on_judged(item: JudgedLabel) -> None:
        outcomes[item.outcome] += 1
        progress.advance(1, **{name: str(count) for name, count in sorted(outcomes.items())})

    return on_judged
