"""Which judge a run uses, how far it must agree with people, and how its verdicts become preference pairs.

Invariant: wherever a judge is named, NAME:KEY=VALUE,... and a former name read as the name of a file with overrides.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rlaif.io.renamed import current_name
from rlaif.recipe.backend import Backend
from rlaif.recipe.base import Section


class JudgeOverrides(Section):
    """Values that replace those of a judge file; null keeps the file's. A panel passes them on to its members."""

    model: str | None = Field(default=None, min_length=1)
    """The model that judges of kind `llm` ask, on the backends of their files; null keeps the files'."""
    backend: Backend | None = None
    """The backend of judges of kind `llm`, with its model; null keeps the files'."""
    reasoning: bool | None = None
    """Whether judges of kind `llm` give reasons before a verdict; null keeps what the files say."""
    skip_when_both_below: float | None = None
    """That of a panel; null keeps the file's."""

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        if self.model is not None and self.backend is not None:
            raise ValueError("model and backend are both given; expected the model in the backend")
        return self

    def given(self) -> dict[str, Any]:
        """Return the values that are not null."""
        return {key: value for key in JudgeOverrides.model_fields if (value := getattr(self, key)) is not None}


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of both; where both set a key, or the model in two ways, `above` wins."""
    if above.keys() & {"model", "backend"}:
        below = {key: value for key, value in below.items() if key not in ("model", "backend")}
    return {**below, **above}


def split_judge_name(name: str) -> tuple[str, Mapping[str, Any]]:
    """Return the name or path of a judge file, and the overrides of a name such as `finance-grounded:reasoning`.

    >>> split_judge_name("finance-panel:model=some/model,reasoning")
    ('finance-panel', {'model': 'some/model', 'reasoning': True})
    """
    file, _, suffix = current_name("judges", name).partition(":")
    pairs = (part.partition("=") for part in suffix.split(",") if part)
    return file, {key.strip(): value if equals else True for key, equals, value in pairs}


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
