"""Which judge a run uses, and how its verdicts become preference pairs."""

from typing import Literal

from pydantic import Field

from rlaif.recipe.base import Section


class JudgeSection(Section):
    """The judge of a run."""

    name: str = Field(min_length=1)
    """A name in `judges/`, or the path of a judge file."""
    max_cost: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Money, in the currency of the judge file's prices, at which the run stops before it asks an endpoint again. Raise
    it and run the same command to go on; null sets no limit."""


class PairsSection(Section):
    """How decisions become preference pairs."""

    per_question: Literal["all", "best-worst"] = "all"
    """`all` keeps every decided comparison; `best-worst` keeps the one with the widest margin."""
    min_margin: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Least margin of a decision: |2p - 1| of a preference p, or the difference of two scores on the judge's scale."""
    max_per_question: int | None = Field(default=None, ge=1)
    """At most so many pairs a question, widest margins first; null keeps all."""
