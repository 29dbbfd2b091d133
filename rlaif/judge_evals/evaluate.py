"""Puts label files to judges, outside any run: the report of one judge, and the comparison of two."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence

from rlaif import __version__
from rlaif.data.labels import Label, labels_jsonl
from rlaif.judge_evals.ask import ask_label, ask_labels
from rlaif.judge_evals.attack_resistance import AttackMeasurement, measure_attacks
from rlaif.judge_evals.attacks import ATTACKS
from rlaif.judge_evals.comparison import Comparison, compare
from rlaif.judge_evals.measurement import measure
from rlaif.judge_evals.outcomes import Judged
from rlaif.judge_evals.report import JudgeReport, LabelSource
from rlaif.judges.judge import Judge
from rlaif.judges.serving import Serving
from rlaif.judges.session import judge_session, open_with_cache, shown_bytes
from rlaif.judges.spec import JudgeSpec
from rlaif.progress import Progress
from rlaif.store.events import now

# Room for what an attack adds to an answer, in bytes. One that adds more and does not fit is counted as failed.
_ATTACK = 4096


def report_on(
    spec: JudgeSpec,
    labels: Sequence[Label],
    place: str,
    serving: Serving,
    progress: Progress,
    *,
    attacks: int = 0,
    seed: int = 0,
) -> JudgeReport:
    """Ask a judge about all labels, attack its right verdicts, and measure it.

    Args:
        spec: the judge.
        labels: what people said.
        place: of the label file, for the record.
        serving: how its models are served.
        progress: told of what happens.
        attacks: how many right verdicts each of `ATTACKS` is tried on, at most; 0 leaves the attacks out.
        seed: of the intervals.

    Raises:
        UserError: a model that the judge asks does not exist.
        WorkError: an engine does not start, or the judge cannot go on.
    """

    async def work() -> JudgeReport:
        longest = max(shown_bytes(label.prompt, label.answers) for label in labels) + (_ATTACK if attacks else 0)
        async with (
            judge_session([spec], serving, progress, longest=longest) as session,
            open_with_cache(spec, session, serving, free=False) as judge,
        ):
            judged = await _ask(judge, labels, progress)
            measured = await _attack(judge, judged, attacks, seed, progress) if attacks else None
        source = LabelSource(place, hashlib.sha256(labels_jsonl(labels)).hexdigest())
        prices = {leaf.sha: leaf.prices for leaf in spec.leaves if leaf.prices is not None}
        measurement = measure(judged, prices=prices, seed=seed)
        return JudgeReport(spec.describe(), source, session.served, now(), __version__, measurement, measured, judged)

    return asyncio.run(work())


def compare_on(
    first: JudgeSpec, second: JudgeSpec, labels: Sequence[Label], serving: Serving, progress: Progress, seed: int = 0
) -> Comparison:
    """Ask two judges about the same labels and compare them; see `report_on`."""

    async def work() -> Comparison:
        longest = max(shown_bytes(label.prompt, label.answers) for label in labels)
        async with judge_session([first, second], serving, progress, longest=longest) as session:
            said = []
            for spec in (first, second):
                async with open_with_cache(spec, session, serving, free=False) as judge:
                    said.append(await _ask(judge, labels, progress))
        return compare(said[0], said[1], seed=seed)

    return asyncio.run(work())


def try_on(spec: JudgeSpec, label: Label, serving: Serving, progress: Progress) -> Judged:
    """Ask a judge about one pair of answers; see `report_on`."""

    async def work() -> Judged:
        longest = shown_bytes(label.prompt, label.answers)
        async with (
            judge_session([spec], serving, progress, longest=longest) as session,
            open_with_cache(spec, session, serving, free=False) as judge,
        ):
            return await ask_label(judge, label)

    return asyncio.run(work())


async def _attack(
    judge: Judge, judged: Sequence[Judged], limit: int, seed: int, progress: Progress
) -> tuple[AttackMeasurement, ...]:
    right = min(limit, sum(item.right for item in judged))
    progress.stage(f"{judge.name}: attack {right} right verdicts", right * len(ATTACKS))
    return await measure_attacks(judge, judged, ATTACKS, limit=limit, told=_teller(progress), seed=seed)


async def _ask(judge: Judge, labels: Sequence[Label], progress: Progress) -> list[Judged]:
    progress.stage(f"{judge.name}: judge labels", len(labels))
    return await ask_labels(judge, labels, _teller(progress))


def _teller(progress: Progress) -> Callable[[Judged], None]:
    outcomes: Counter[str] = Counter()

    def told(item: Judged) -> None:
        outcomes[item.outcome] += 1
        progress.advance(1, **{name: str(count) for name, count in sorted(outcomes.items())})

    return told
