"""Criteria of a rubric: what an answer is marked by, each with a weight.

Invariant: names differ also where case is ignored, weights are above zero, and the rating of marks that are equal is
equal to the last bit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from rlaif.io.json_text import parse_json
from rlaif.io.yaml_file import pydantic_fault
from rlaif.recipe.base import Section

Scale = tuple[float, float]


def check_scale(scale: Scale) -> Scale:
    """Return a scale's least and greatest mark, or raise ValueError."""
    if not (math.isfinite(scale[0]) and math.isfinite(scale[1]) and scale[0] < scale[1]):
        raise ValueError("expected the least and the greatest rating, such as [1, 5]")
    return scale


class CriterionSection(Section):
    """One of the criteria, below its name."""

    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Its share of the rating, compared with the weights of the others."""
    description: str = ""
    """What the model is told of it."""
    scale: Annotated[Scale, AfterValidator(check_scale)] | None = None
    """Least and greatest mark; null takes the prompt's. Marks of another scale than the prompt's are brought to it."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """What an answer is marked by; see `CriterionSection`."""

    name: str
    weight: float = 1.0
    description: str = ""
    scale: Scale | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of an answer by one criterion, with the criterion's weight."""

    criterion: str
    mark: float
    weight: float


_CRITERIA: TypeAdapter[dict[str, CriterionSection]] = TypeAdapter(dict[str, CriterionSection])


def named_criteria(sections: Mapping[str, CriterionSection]) -> tuple[Criterion, ...]:
    """Return criteria from what is written below their names; raise ValueError for names that do not differ."""
    found = tuple(
        Criterion(name.strip(), section.weight, section.description.strip(), section.scale)
        for name, section in sections.items()
    )
    folded = [criterion.name.casefold() for criterion in found]
    if not all(folded) or len(set(folded)) < len(folded):
        raise ValueError("a name is empty, or differs from another only by case; expected different names")
    return found


def read_criteria(value: object) -> tuple[Criterion, ...]:
    """Return the criteria that a value of a file or dataset holds: an object by name, or its JSON; of null none.

    Raises:
        ValueError: the value is something else; one line says where.
    """
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return ()
    if isinstance(value, tuple) and all(isinstance(item, Criterion) for item in value):
        return value
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"not JSON: {error}") from None
    if not isinstance(value, Mapping):
        raise ValueError("expected an object with a weight and a description by name")
    # A Parquet file has the fields of all its rows in each, empty where they are not given.
    given = {name: _given(item) for name, item in value.items() if item is not None}
    try:
        return named_criteria(_CRITERIA.validate_python(given))
    except ValidationError as error:
        item = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, item['loc']))}: {pydantic_fault(item).message}") from None


def _given(item: Any) -> Any:
    return {key: value for key, value in item.items() if value is not None} if isinstance(item, Mapping) else item


def criteria_tree(criteria: Sequence[Criterion]) -> dict[str, Any]:
    """Return criteria as a file holds them, without what is not given."""
    return {
        criterion.name: {
            "weight": criterion.weight,
            **({"description": criterion.description} if criterion.description else {}),
            **({"scale": list(criterion.scale)} if criterion.scale is not None else {}),
        }
        for criterion in criteria
    }


def describe_criteria(criteria: Sequence[Criterion], scale: Scale) -> str:
    """Return what a model is told of criteria, one a line."""
    lines = []
    for criterion in criteria:
        low, high = criterion.scale or scale
        what = " ".join(criterion.description.split())
        lines.append(f"- {criterion.name}, from {low:g} to {high:g}{f': {what}' if what else ''}")
    return "\n".join(lines)


def criteria_bytes(criteria: Sequence[Criterion]) -> int:
    """Return the most bytes of `describe_criteria`, whatever the scale."""
    # The two ends of a scale with six digits each, such as -1.23457e-100.
    return sum(len(line.encode()) + 1 + 2 * 13 for line in describe_criteria(criteria, (0.0, 1.0)).split("\n") if line)


def rating_of(marks: Mapping[str, float], criteria: Sequence[Criterion], scale: Scale) -> float:
    """Return the weighted mean of marks, each brought to a scale from its criterion's own.

    In exact arithmetic on the decimal numbers as they are written, so that no rounding prefers one of two answers.
    """
    low, high = map(_exact, scale)
    total = Fraction(0)
    for criterion in criteria:
        own_low, own_high = map(_exact, criterion.scale or scale)
        share = (_exact(marks[criterion.name]) - own_low) / (own_high - own_low)
        total += _exact(criterion.weight) * (low + share * (high - low))
    return float(total / sum(_exact(criterion.weight) for criterion in criteria))


def _exact(number: float) -> Fraction:
    return Fraction(repr(float(number)))
