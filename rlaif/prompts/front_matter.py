"""The front matter of a prompt file: what the prompt is for, and how its judge's answer is read.

Invariant: each kind of judge prompt reads an answer in exactly one way, named by `verdict`: from the log-probabilities
of a few labels (`labels`, `of_logprobs`) or from a text (`of_text`, held to `schema` where there is one).
"""

import json
import math
import re
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationInfo, create_model, field_validator
from pydantic.config import JsonDict

from rlaif.prompts.parsing import (
    UNPARSED,
    Reading,
    choices_of,
    expected_rating,
    preference_of,
    preference_reading,
    read_json,
    read_label,
    read_number,
)
from rlaif.recipe.base import Section

_MOST_RATINGS = 20
"""Labels of a scale at most: endpoints give the log-probabilities of 20 tokens."""


class AnswerFrontMatter(Section):
    """FrontMatter matter of a prompt that puts a question to the policy."""

    kind: Literal["answer"]


class _Pairwise(Section):
    """What all prompts that compare two answers have in common."""

    kind: Literal["pairwise"]


class _Pointwise(Section):
    """What all prompts that rate one answer have in common."""

    kind: Literal["pointwise"]


def _check_labels(labels: tuple[str, str]) -> tuple[str, str]:
    if not all(label.strip() for label in labels) or labels[0] == labels[1]:
        raise ValueError("expected two different labels, such as [A, B]")
    return labels


def _check_read_labels(labels: tuple[str, str]) -> tuple[str, str]:
    if _same(*labels):
        raise ValueError("differ by case alone, which counts for nothing; expected different labels, such as [A, B]")
    return labels


def _check_tie(tie_label: str | None, info: ValidationInfo) -> str | None:
    if tie_label is not None and any(_same(tie_label, label) for label in info.data.get("labels", ())):
        raise ValueError("is also one of labels; expected another")
    return tie_label


def _same(label: str, other: str) -> bool:
    return label.strip().casefold() == other.strip().casefold()


def _check_expression(expression: str) -> str:
    try:
        with warnings.catch_warnings():
            # "[[A]]" without backslashes is a set, and Python only warns of it.
            warnings.simplefilter("error", FutureWarning)
            groups = re.compile(expression).groups
    except FutureWarning as warning:
        raise ValueError(
            f"{str(warning).lower()}; expected a backslash before a bracket that is meant itself"
        ) from None
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"{groups} groups; expected exactly one, around the label, such as '\\[\\[(A|B)\\]\\]'")
    return expression


def _check_scale(scale: tuple[float, float]) -> tuple[float, float]:
    if not (math.isfinite(scale[0]) and math.isfinite(scale[1]) and scale[0] < scale[1]):
        raise ValueError("expected the least and the greatest rating, such as [1, 5]")
    return scale


class PairwiseLogprob(_Pairwise):
    """Compares two answers; read from the log-probabilities of the two labels as the first token."""

    verdict: Literal["logprob"]
    labels: tuple[str, str]
    """What the judge says for the answer shown first and for the one shown second; one token each."""
    prefix: str = ""
    """Text that begins the judge's answer, before the label."""

    _labels_differ = field_validator("labels")(_check_labels)

    def of_logprobs(self, logprobs: Sequence[float]) -> Reading:
        """Read the log-probabilities of the labels, in their order."""
        return preference_reading(preference_of(*logprobs))


class PairwiseLabel(_Pairwise):
    """Compares two answers; read from the last label of a text."""

    verdict: Literal["label"]
    labels: tuple[str, str]
    """What is captured for the answer shown first and for the one shown second; case counts for nothing."""
    tie_label: str | None = Field(default=None, min_length=1)
    """What is captured for two answers that are equally good; null offers no tie."""
    label: str = Field(min_length=1)
    """Regular expression that finds the label; its one group captures it. The last match counts."""

    _two_labels = field_validator("labels")(_check_labels)
    _labels_differ = field_validator("labels")(_check_read_labels)
    _tie_differs = field_validator("tie_label")(_check_tie)
    _one_group = field_validator("label")(_check_expression)

    @field_validator("label")
    @classmethod
    def _captures_labels(cls, expression: str, info: ValidationInfo) -> str:
        inside = captured_part(expression)
        labels = [*info.data.get("labels", ()), info.data.get("tie_label")]
        for label in labels:
            if label is not None and inside is not None and not re.fullmatch(inside, label.strip(), re.IGNORECASE):
                raise ValueError(f"the group never captures {label}; expected one that matches each of the labels")
        return expression

    @property
    def answer_schema(self) -> None:
        """None: the text is free."""

    def of_text(self, text: str) -> Reading:
        """Read the last label."""
        return read_label(text, re.compile(self.label), choices_of(self.labels, self.tie_label))


class PairwiseJson(_Pairwise):
    """Compares two answers; read from the `choice` of a JSON object that is held to a schema."""

    verdict: Literal["json"]
    labels: tuple[str, str] = ("A", "B")
    """The `choice` for the answer shown first and for the one shown second."""
    tie_label: str | None = Field(default=None, min_length=1)
    """The `choice` for two answers that are equally good; null offers no tie."""
    reason: bool = True
    """Whether a `reason` comes before the `choice`."""

    _two_labels = field_validator("labels")(_check_labels)
    _labels_differ = field_validator("labels")(_check_read_labels)
    _tie_differs = field_validator("tie_label")(_check_tie)

    @property
    def answer_schema(self) -> str:
        """JSON schema of the answer, as JSON."""
        return _schema(self._model)

    @property
    def _model(self) -> type[BaseModel]:
        return _choice_model(tuple(self._choices), self.reason)

    @property
    def _choices(self) -> dict[str, Reading]:
        return choices_of(self.labels, self.tie_label)

    def of_text(self, text: str) -> Reading:
        """Read the `choice`."""
        answer = read_json(text, self._model)
        return UNPARSED if answer is None else self._choices[answer.model_dump()["choice"]]


class PointwiseLogprob(_Pointwise):
    """Rates one answer; read as the mean of the scale's whole numbers under their probabilities as the first token."""

    verdict: Literal["logprob"]
    scale: tuple[int, int]
    """Least and greatest rating. Each whole number between them is a label and one token."""
    prefix: str = ""
    """Text that begins the judge's answer, before the rating."""

    _ascends = field_validator("scale")(_check_scale)

    @field_validator("scale")
    @classmethod
    def _few_labels(cls, scale: tuple[int, int]) -> tuple[int, int]:
        if scale[1] - scale[0] >= _MOST_RATINGS:
            raise ValueError(f"{scale[1] - scale[0] + 1} ratings; expected at most {_MOST_RATINGS}")
        return scale

    @property
    def labels(self) -> tuple[str, ...]:
        """The ratings as the judge says them, ascending."""
        return tuple(map(str, range(self.scale[0], self.scale[1] + 1)))

    def of_logprobs(self, logprobs: Sequence[float]) -> Reading:
        """Read the log-probabilities of the labels, in their order."""
        return expected_rating(logprobs, range(self.scale[0], self.scale[1] + 1))


class PointwiseScore(_Pointwise):
    """Rates one answer; read from the last number of a text."""

    verdict: Literal["score"]
    scale: tuple[float, float]
    """Least and greatest rating; a number off the scale is unparsed."""
    label: str | None = Field(default=None, min_length=1)
    """Regular expression that finds the rating, the last match counting; its one group captures it. Null takes the
    last number of the text."""

    _ascends = field_validator("scale")(_check_scale)

    @field_validator("label")
    @classmethod
    def _one_group(cls, label: str | None) -> str | None:
        return None if label is None else _check_expression(label)

    @property
    def answer_schema(self) -> None:
        """None: the text is free."""

    def of_text(self, text: str) -> Reading:
        """Read the last number."""
        return read_number(text, self.scale, None if self.label is None else re.compile(self.label))


class PointwiseJson(_Pointwise):
    """Rates one answer; read from the `score` of a JSON object that is held to a schema."""

    verdict: Literal["json"]
    scale: tuple[float, float]
    """Least and greatest rating; of two whole numbers, the ratings are whole numbers too."""
    reason: bool = True
    """Whether a `reason` comes before the `score`."""

    _ascends = field_validator("scale")(_check_scale)

    @property
    def answer_schema(self) -> str:
        """JSON schema of the answer, as JSON."""
        return _schema(self._model)

    @property
    def _model(self) -> type[BaseModel]:
        return _score_model(*self.scale, self.reason)

    def of_text(self, text: str) -> Reading:
        """Read the `score`."""
        answer = read_json(text, self._model)
        return UNPARSED if answer is None else Reading("ok", float(answer.model_dump()["score"]))


LogprobFrontMatter = PairwiseLogprob | PointwiseLogprob
TextFrontMatter = PairwiseLabel | PairwiseJson | PointwiseScore | PointwiseJson
PairwiseFront = PairwiseLogprob | PairwiseLabel | PairwiseJson
PointwiseFrontMatter = PointwiseLogprob | PointwiseScore | PointwiseJson
JudgeFrontMatter = PairwiseFront | PointwiseFrontMatter
FrontMatter = AnswerFrontMatter | JudgeFrontMatter

FRONT_MATTER: TypeAdapter[FrontMatter] = TypeAdapter(
    Annotated[
        AnswerFrontMatter
        | Annotated[PairwiseFront, Field(discriminator="verdict")]
        | Annotated[PointwiseFrontMatter, Field(discriminator="verdict")],
        Field(discriminator="kind"),
    ]
)


@lru_cache
def _choice_model(choices: tuple[str, ...], reason: bool) -> type[BaseModel]:
    return _answer_model("choice", Literal[choices], reason)


@lru_cache
def _score_model(low: float, high: float, reason: bool) -> type[BaseModel]:
    if low.is_integer() and high.is_integer() and high - low < _MOST_RATINGS:
        # Not every endpoint holds a number to its bounds; all hold one to a list.
        listed: JsonDict = {"enum": list(range(int(low), int(high) + 1))}
        return _answer_model("score", Annotated[int, Field(ge=low, le=high, json_schema_extra=listed)], reason)
    return _answer_model("score", Annotated[float, Field(ge=low, le=high, allow_inf_nan=False)], reason)


def _answer_model(name: str, type_: Any, reason: bool) -> type[BaseModel]:
    """Return the model of a JSON answer; its reason stands first, so that it is given before the verdict."""
    fields: dict[str, Any] = {"reason": (str, ...)} if reason else {}
    fields[name] = (type_, ...)
    return create_model("Answer", __config__=ConfigDict(extra="forbid", strict=True), **fields)


@lru_cache
def _schema(model: type[BaseModel]) -> str:
    tree = model.model_json_schema()
    for field in (tree, *tree["properties"].values()):
        field.pop("title", None)
        if "enum" in field:
            field.pop("minimum", None)
            field.pop("maximum", None)
    return json.dumps(tree)


def captured_part(expression: str) -> str | None:
    """Return the source of a regular expression's one group, or None where it does not stand by itself.

    >>> captured_part(r"Output \\(([ab])\\)")
    '[ab]'
    """
    inside_set = False
    position = 0
    opened: list[int] = []
    while position < len(expression):
        sign = expression[position]
        if sign == "\\":
            position += 1
        elif inside_set:
            # A bracket that stands first in a set is one of its characters.
            inside_set = sign != "]" or expression[position - 1] == "[" or expression[position - 2 : position] == "[^"
        elif sign == "[":
            inside_set = True
        elif sign == "(":
            named = re.match(r"\(\?P<\w+>", expression[position:])
            captures = bool(named) or not expression.startswith("(?", position)
            opened.append(position + (named.end() if named else 1) if captures else -1)
        elif sign == ")":
            start = opened.pop()
            if start >= 0:
                part = expression[start:position]
                return part if _compiles(part) else None
        position += 1
    return None


def _compiles(expression: str) -> bool:
    try:
        re.compile(expression)
    except re.error:
        return False
    return True
