"""What a recipe, a panel or a command may change of a judge file without copying it.

Invariant: wherever a judge is named, NAME:KEY=VALUE,... and a former name read as the name of a file with overrides.
"""

from collections.abc import Mapping
from typing import Any, Self

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
