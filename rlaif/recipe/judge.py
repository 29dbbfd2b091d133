"""Which judge a run uses, how far it must agree with people, and how its verdicts become preference pairs."""

from typing import Literal

from pydantic import Field

from rlaif.recipe.base import Section


class GoldSetSection(Section):
    """Pairs that people decided, judged along with every round."""

    path: str = Field(min_length=1)
    """A label file; see `rlaif judge labels`. Labels on which people see a tie are left out."""
    min_agreement: float = Field(default=0.7, gt=0, le=1)
    """Share of the labels that the judge must decide as people did; below it the round stops before it samples. Ties,
    unreadable verdicts and errors count as disagreement."""
    limit: int | None = Field(default=None, ge=1)
    """Take only the first so many labels; null takes all."""


class JudgeSection(Section):
    """The judge of a run."""

    name: str = Field(min_length=1)
    """A name in `judges/`, or the path of a judge file."""
    max_cost: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Money, in the currency of the judge file's prices, at which the run stops before it asks an endpoint again. Raise
    it and run the same command to go on; null sets no limit."""
    gold_set: GoldSetSection | None = None
    """Pairs that people decided, on which the judge is checked in every round; null checks none."""


class PairsSection(Section):
    """How decisions become preference pairs."""

    per_question: Literal["all", "best-worst"] = "all"
    """`all` keeps every decided comparison; `best-worst` keeps the one with the widest margin."""
    min_margin: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Least margin of a decision: the distance of 2p - 1 from 0 of a preference p, which is at most 1; or the
    difference of two ratings on the judge's scale."""
    max_per_question: int | None = Field(default=None, ge=1)
    """With `all`, the most pairs of one question, widest margins first; null keeps all."""
