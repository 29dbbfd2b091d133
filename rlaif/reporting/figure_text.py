"""The text of a run's figures, the same in the terminal and on the page.

Invariant: an unknown figure is a dash, and a difference whose interval includes zero is never called a gain.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby

from rlaif.data.criteria import Mark
from rlaif.reporting.summary import PolicyState, RunSummary
from rlaif.stats.bootstrap import Estimate

DASH = "–"


def figure(value: float | None, digits: int = 3, signed: bool = False) -> str:
    return DASH if value is None else f"{value:{'+' if signed else ''}.{digits}f}"


def span(found: Estimate | None, digits: int = 3, signed: bool = False) -> str:
    """Return a mean with its interval, `0.289 [0.210, 0.371]`."""
    if found is None or found.value is None:
        return DASH
    mean = figure(found.value, digits, signed)
    if found.low is None or found.high is None:
        return mean
    return f"{mean} [{figure(found.low, digits, signed)}, {figure(found.high, digits, signed)}]"


def marks_text(marks: Sequence[Mark]) -> str:
    """Return the marks of a rating, `accuracy 5 (weight 2), brevity 3 (weight 1)`."""
    return ", ".join(f"{mark.criterion} {mark.mark:g} (weight {mark.weight:g})" for mark in marks)


def count(number: int, thing: str) -> str:
    """Return `1 pair` or `1,204 pairs`."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def learned_from(summary: RunSummary) -> str:
    """Return what each phase has learned from so far; "" for a recipe without phases.

    An example is `Learned from: sft 12 demonstrations (policies 1 to 2), grpo 6 answers (policy 3).`
    """
    gathered = [record for record in summary.rounds if record.phase is not None and record.gathered is not None]
    parts = []
    for phase, group in groupby(gathered, key=lambda record: record.phase):
        records = list(group)
        units = sum(record.gathered.units for record in records if record.gathered)
        first, last = records[0].round + 1, records[-1].round + 1
        policies = f"policy {first}" if first == last else f"policies {first} to {last}"
        unit = records[0].gathered.unit if records[0].gathered else ""
        parts.append(f"{phase} {units:,} {unit} ({policies})")
    return f"Learned from: {', '.join(parts)}." if parts else ""


def share(value: float | None) -> str:
    return DASH if value is None else f"{100 * value:.0f}%"


def duration(seconds: float) -> str:
    """Return a time span in the two units that matter."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def moment(time: str | None) -> str:
    """Return an ISO time as `2026-01-31 12:34:56 UTC`; a malformed time is returned unchanged."""
    if not time:
        return DASH
    try:
        return f"{datetime.fromisoformat(time).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except ValueError:
        return time


def ago(time: str | None) -> str:
    """Return how long ago an ISO time was, in its largest unit; a dash if it is malformed."""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(time or "").astimezone(UTC)).total_seconds()
    except ValueError:
        return DASH
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def short_id(sha: str | None) -> str:
    """Return the beginning of a sha256, with or without its `sha256:`."""
    return DASH if not sha else sha.removeprefix("sha256:")[:12]


def promotion(policy: PolicyState) -> str:
    """Return whether a policy was promoted, or why there is none."""
    if policy.number == 0:
        return "start"
    if policy.promoted is None:
        return policy.note or "not decided yet"
    return "yes" if policy.promoted else (policy.note or "no")


def headline(summary: RunSummary) -> list[str]:
    """Return the outcome of the run in one sentence, a caveat if the change may be chance, and the unseen score."""
    return [*_outcome(summary), *_unseen(summary)]


def _unseen(summary: RunSummary) -> list[str]:
    start, score = (policy.metrics.get("test_score") for policy in (summary.initial, summary.current))
    if start is None or score is None:
        return []
    change = "" if summary.current.number == 0 else f"{figure(start.value)} → "
    return [f"Score {change}{span(score)} on {count(score.n, 'test question')}, which no gate has seen."]


def _outcome(summary: RunSummary) -> list[str]:
    initial, current = summary.initial, summary.current
    if initial.questions is None:
        return ["The initial policy has not been measured on the held-out questions yet."]
    questions = count(initial.questions, "held-out question")
    start = initial.metrics.get("score")
    if current.number == 0:
        return [_nothing_promoted(summary, questions)]
    score = current.metrics.get("score")
    if summary.metric == "win_rate" or start is None or score is None:
        wins = current.metrics.get("win_rate")
        caveat = _chance(wins, 0.5, "even")
        if current.judge_errors:
            caveat.append(f"The judge failed on {count(current.judge_errors, 'question')}, left out here.")
        return [f"Policy {current.number} wins {span(wins)} of {questions} against the initial policy.", *caveat]
    difference = current.difference
    sentence = f"Score {figure(start.value)} → {figure(score.value)} with policy {current.number}, on {questions}"
    if difference is None:
        return [f"{sentence}."]
    return [f"{sentence}: {span(difference, signed=True)}.", *_chance(difference, 0.0, "zero")]


def _nothing_promoted(summary: RunSummary, questions: str) -> str:
    start = summary.initial.metrics.get("score")
    score = f"scores {span(start)}" if start else "is measured"
    refused = [policy for policy in summary.policies[1:] if policy.promoted is False and policy.id is not None]
    if not refused:
        return f"The initial policy {score} on {questions}; no trained policy has been promoted yet."
    gate = refused[-1].gate
    against = f": {gate.change}" if gate else ""
    stays = f"The initial policy stays; it {score} on {questions}."
    return f"Policy {refused[-1].number} did not pass the gate{against}. {stays}"


def _chance(found: Estimate | None, neutral: float, name: str) -> list[str]:
    if found is None or found.low is None or found.high is None or not found.low <= neutral <= found.high:
        return []
    return [f"The interval includes {name}: with this many questions, the change may be chance."]
