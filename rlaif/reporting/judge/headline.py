"""A judge report in a few sentences: its accuracy, and the biases and limits to read it with.

Invariant: a bias is named only where its interval excludes the unbiased value.
"""

from rlaif.judge_evals.judge_report import Measurement
from rlaif.reporting.judge.figure_rows import format_estimate, format_value
from rlaif.stats.bootstrap import Estimate


def headline(name: str, found: Measurement) -> list[str]:
    """Return a measurement in words: one sentence, and the remarks to read it with."""
    accuracy, longer = found.figures.get("accuracy"), found.figures.get("always_longer")
    if accuracy is None or accuracy.value is None:
        return [f"People prefer neither answer on any of the {found.labels:,} labels: there is no accuracy to measure."]
    of = f"{found.preferred:,} labels" if found.preferred == found.labels else (
        f"the {found.preferred:,} of {found.labels:,} labels on which people prefer one answer"
    )  # fmt: skip
    lines = [f"{name} decides for people's choice on {format_estimate(accuracy, 'accuracy')} of {of}."]
    half = found.figures["ties_half"]
    if not _excludes(half, 0.5):
        share = format_estimate(half, "ties_half")
        lines.append(f"With a tie counted as one half it is {share}, which does not differ from chance.")
    if longer is not None and longer.value is not None and half.value is not None and longer.value >= half.value:
        lines.append(f"Always choosing the longer answer reaches {format_value(longer.value, 'share')}.")
    lines += _biases(found)
    if found.questions < found.labels:
        lines.append(f"The labels are about {found.questions:,} questions; intervals resample questions, not labels.")
    return lines


def _biases(found: Measurement) -> list[str]:
    lines = []
    for judge in found.judges:
        first = judge.figures.get("prefers_first")
        if first is not None and first.value is not None and _excludes(first, 0.5):
            shown, share = ("first", first.value) if first.value > 0.5 else ("second", 1.0 - first.value)
            who = "It" if len(found.judges) == 1 else judge.name
            lines.append(f"{who} prefers the answer shown {shown}: {format_value(share, 'share')} of its verdicts.")
    longer, people = found.figures.get("prefers_longer"), found.figures.get("people_prefer_longer")
    if longer is not None and people is not None and people.value is not None and _excludes(longer, people.value):
        lines.append(
            f"It chooses the longer answer in {format_value(longer.value, 'share')} of its decisions, people in "
            f"{format_value(people.value, 'share')}."
        )
    return lines


def _excludes(found: Estimate, value: float) -> bool:
    """Whether a figure's interval excludes a value."""
    return found.low is not None and found.high is not None and not found.low <= value <= found.high
