"""A judge of your own: it prefers answers whose figures are all in the context, and among those the shorter one.

rlaif judge report examples/judges/figures.yaml --labels labels.jsonl
"""

import re
from collections.abc import Sequence

_FIGURE = re.compile(r"\d+(?:[.,]\d+)*")


def judge(
    question: str, candidates: list[str], gold_answer: str | list[str] | None, context: str
) -> Sequence[float | None]:
    """Return a score for each candidate; None where it has no figure, which is for another judge to decide."""
    known = set(_FIGURE.findall(context))
    scores: list[float | None] = []
    for candidate in candidates:
        figures = _FIGURE.findall(candidate)
        share = sum(figure in known for figure in figures) / len(figures) if figures else None
        scores.append(None if share is None else share - len(candidate) / 100_000)
    return scores
