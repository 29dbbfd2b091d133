"""What people give a run: a file of their preferences, and their answers to comparisons while it runs."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from rlaif.recipe.base import Section

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(value: object) -> object:
    """Return a time such as `24h` in seconds; anything else as it is."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd]?)\s*", value)
    if found is None:
        raise ValueError("expected seconds, or a time such as 90s, 30m, 24h or 2d")
    return float(found[1]) * _UNITS[found[2] or "s"]


class HumanPreferencesSection(Section):
    """A file of people's preferences, whose pairs join those of the judge."""

    path: str = Field(min_length=1)
    """A file of preferences, as `rlaif train` reads them; `feedback.preferences: FILE` sets it alone. A row counts as a
    person's unless its `source` is `ai`. Each round takes the share of them that it takes of the questions, in a seeded
    order; a phase takes none again before all others; `training.human_weight` weighs a person's."""
    columns: dict[str, str | None] = Field(default_factory=dict)
    """The file's own names of columns, by field: `{chosen: better}`; null reads none."""

    @model_validator(mode="before")
    @classmethod
    def _of_a_path(cls, tree: Any) -> Any:
        return {"path": tree} if isinstance(tree, str) else tree


class PeopleSection(Section):
    """Comparisons of each round that people are asked to decide, in a queue beside the round's files."""

    share: float = Field(default=0.1, gt=0, le=1)
    """Share of a round's comparisons that are queued for people: those whose answer would settle most, and some at
    random. A person's answer outweighs the judge on its comparison."""
    random: float = Field(default=0.1, ge=0, le=1)
    """Share of the queue that is drawn at random, at least one. There the judge is measured against people."""
    wait: Annotated[float, BeforeValidator(_seconds)] = Field(default=86400.0, ge=0, allow_inf_nan=False)
    """How long a round waits for answers once its queue is written: seconds, or a time such as `30m`, `24h` or `2d`.
    It goes on as soon as each comparison has an answer, or then without the others; `0` goes on at once, with the
    answers that are there."""


class FeedbackSection(Section):
    """What people decide."""

    preferences: HumanPreferencesSection | None = None
    """People's preferences that join each round's pairs; null adds none."""
    people: PeopleSection | None = None
    """Comparisons that people are asked to decide; null asks nobody."""
