"""Which judge a run uses, how far it must agree with people, and how its verdicts become preference pairs."""

from typing import Any, Literal

from pydantic import Field, model_validator

from rlaif.recipe.base import Section
from rlaif.recipe.judge_overrides import JudgeOverrides, merged, split_judge_name


class GoldSetSection(Section):
    """Pairs that people decided, judged along with every round."""

    path: str = Field(min_length=1)
    """A label file; see `rlaif judge labels`. Labels on which people see a tie are left out."""
    min_agreement: float = Field(default=0.7, gt=0, le=1)
    """Share of the labels that the judge must decide as people did; below it the round stops before it samples. Ties,
    unreadable verdicts and errors count as disagreement."""
    limit: int | None = Field(default=None, ge=1)
    """Take only the first so many labels; null takes all."""


class JudgeSection(JudgeOverrides):
    """The judge of a run."""

    name: str = Field(min_length=1)
    """A name in `judges/`, or the path of a judge file; `NAME:reasoning` and `NAME:model=MODEL` set those keys too."""
    max_cost: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Money, in the currency of the judge file's prices, at which the run stops before it asks an endpoint again. Raise
    it and run the same command to go on; null sets no limit."""
    gold_set: GoldSetSection | None = None
    """Pairs that people decided, on which the judge is checked in every round; null checks none."""

    @model_validator(mode="before")
    @classmethod
    def _of_the_name(cls, tree: Any) -> Any:
        """Give a name's overrides keys of their own, where the section does not set them."""
        if not isinstance(tree, dict) or not isinstance(tree.get("name"), str):
            return tree
        name, overrides = split_judge_name(tree["name"])
        return {**merged(overrides, {key: value for key, value in tree.items() if value is not None}), "name": name}


class PairsSection(Section):
    """How decisions become preference pairs."""

    per_question: Literal["all", "best-worst"] = "all"
    """`all` keeps every decided comparison; `best-worst` keeps the one with the widest margin."""
    min_margin: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Least margin of a decision: the distance of 2p - 1 from 0 of a preference p, which is at most 1; or the
    difference of two ratings on the judge's scale."""
    max_per_question: int | None = Field(default=None, ge=1)
    """With `all`, the most pairs of one question, widest margins first; null keeps all."""
