"""The front matter of a prompt file: what the prompt is for, and how the answer of a judge's model is read.

Invariant: each kind of judge prompt reads an answer in exactly one way, named by `verdict`: from the log-probabilities
of a few choices (`choices`, `of_logprobs`) or from a text (`of_text`, with `answer_schema`; None where it is free).
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationInfo, field_validator

from rlaif.data.criteria import Criterion, Mark, Scale, check_scale, rating_of
from rlaif.io.renamed import Renamed
from rlaif.prompts.json_answer import MOST_RATINGS, choice_schema, marks_schema, read_object, score_schema
from rlaif.prompts.pattern import captured_part, check_pattern
from rlaif.prompts.reading import FIRST, SECOND, TIE, UNPARSED, Reading, expected_rating, mass_of, preference_of
from rlaif.prompts.verdict_text import Place, read_choice, read_number
from rlaif.recipe.base import Section

_RENAMED = {"labels": Renamed("choices"), "tie_label": Renamed("tie_choice"), "label": Renamed("pattern")}
RENAMED: Mapping[str, Renamed] = {**_RENAMED, **{f"reasoning.{key}": new for key, new in _RENAMED.items()}}
"""Old keys that are still accepted. A template's sha256 is computed with the old names."""

MIN_MASS = 0.1
"""In the embedded 135M model the letters of the prompts that compare hold 0.17 to 0.55, and the digits of `rubric`,
which it would begin with "The" or "Your", 0.03 to 0.14 (docs/judges.md)."""


def _check_choices(choices: tuple[str, str]) -> tuple[str, str]:
    if not all(choice.strip() for choice in choices) or choices[0] == choices[1]:
        raise ValueError("expected two different choices, such as [A, B]")
    return choices


def _check_read_choices(choices: tuple[str, str]) -> tuple[str, str]:
    if _same(*choices):
        raise ValueError("differ only by case, which is ignored; expected different choices, such as [A, B]")
    return choices


def _same(choice: str, other: str) -> bool:
    return choice.strip().casefold() == other.strip().casefold()


_Choices = Annotated[tuple[str, str], AfterValidator(_check_choices), Field(serialization_alias="labels")]
_ReadChoices = Annotated[_Choices, AfterValidator(_check_read_choices)]
_Pattern = Annotated[str, AfterValidator(check_pattern)]
_Mass = Annotated[float, Field(ge=0, le=1)]
_Scale = Annotated[tuple[float, float], AfterValidator(check_scale)]


def _holds(logprobs: Sequence[float], least: float) -> bool:
    """Return whether the choices together have at least a probability as the first token."""
    mass = mass_of(logprobs)
    return mass is not None and mass >= least


class AnswerFrontMatter(Section):
    """Front matter of a prompt that puts a question to the policy."""

    kind: Literal["answer"]


class PairwiseLogprob(Section):
    """Compares two answers; read from the log-probabilities of the two choices as the first token."""

    kind: Literal["pairwise"]
    verdict: Literal["logprob"]
    choices: _Choices
    """What the judge's model says for the answer shown first and for the one shown second; one token each."""
    prefix: str = ""
    """Text that begins the model's answer, before the choice."""
    min_mass: _Mass = MIN_MASS
    """Least probability of both choices together as the first token. With less the model has not answered, and the
    verdict is `unparsed`."""

    def of_logprobs(self, logprobs: Sequence[float]) -> Reading:
        preference = preference_of(*logprobs)
        if math.isnan(preference) or not _holds(logprobs, self.min_mass):
            return UNPARSED
        return TIE if preference == 0.5 else Reading("ok", preference)


class _PairwiseText(Section):
    kind: Literal["pairwise"]
    choices: _ReadChoices
    tie_choice: str | None = Field(default=None, min_length=1, serialization_alias="tie_label")
    """The choice for two equally good answers; null offers no tie."""

    @field_validator("tie_choice")
    @classmethod
    def _tie_differs(cls, tie_choice: str | None, info: ValidationInfo) -> str | None:
        if tie_choice is not None and any(_same(tie_choice, choice) for choice in info.data.get("choices", ())):
            raise ValueError("is also one of choices; expected another")
        return tie_choice

    @property
    def readings(self) -> dict[str, Reading]:
        """The reading of each choice."""
        readings = {self.choices[0]: FIRST, self.choices[1]: SECOND}
        return readings if self.tie_choice is None else {**readings, self.tie_choice: TIE}


class PairwiseLabel(_PairwiseText):
    """Compares two answers; read from the sentence of a text that gives the choice."""

    verdict: Literal["label"]
    choices: _ReadChoices
    """What is captured for the answer shown first and for the one shown second; case is ignored."""
    pattern: _Pattern = Field(min_length=1, serialization_alias="label")
    """Regular expression that finds the choice; its one group captures it."""
    place: Place = "anywhere"
    """Where the verdict is: `anywhere` (the last sentence that names a choice), `end` (the last sentence), or
    `line` (a line that holds nothing else)."""

    answer_schema: ClassVar[None] = None

    @field_validator("pattern")
    @classmethod
    def _captures_choices(cls, pattern: str, info: ValidationInfo) -> str:
        inside = captured_part(pattern)
        for choice in (*info.data.get("choices", ()), info.data.get("tie_choice")):
            if choice is not None and inside is not None and not re.fullmatch(inside, choice.strip(), re.IGNORECASE):
                raise ValueError(f"the group never captures {choice}; expected one that matches each of the choices")
        return pattern

    def of_text(self, text: str) -> Reading:
        return read_choice(text, re.compile(self.pattern), self.readings, self.place)


class PairwiseJson(_PairwiseText):
    """Compares two answers; read from the `choice` of a JSON object that follows a schema."""

    verdict: Literal["json"]
    choices: _ReadChoices = ("A", "B")
    """The `choice` for the answer shown first and for the one shown second."""
    reason: bool = True
    """Whether a `reason` comes before the `choice`."""

    @property
    def answer_schema(self) -> str:
        return choice_schema(tuple(self.readings), self.reason)

    def of_text(self, text: str) -> Reading:
        answer = read_object(text) or {}
        choice = answer.get("choice")
        readings = {name.casefold(): reading for name, reading in self.readings.items()}
        return readings.get(choice.strip().casefold(), UNPARSED) if isinstance(choice, str) else UNPARSED


class PointwiseLogprob(Section):
    """Rates one answer; read as the mean of the scale's whole numbers under their probabilities as the first token."""

    kind: Literal["pointwise"]
    verdict: Literal["logprob"]
    scale: Annotated[tuple[int, int], AfterValidator(check_scale)]
    """Least and greatest rating. Each whole number between them is a choice and one token."""
    prefix: str = ""
    """Text that begins the model's answer, before the rating."""
    min_mass: _Mass = MIN_MASS
    """Least probability of all ratings together as the first token. With less the model has not answered, and the
    verdict is `unparsed`."""

    @field_validator("scale")
    @classmethod
    def _few_ratings(cls, scale: tuple[int, int]) -> tuple[int, int]:
        if scale[1] - scale[0] >= MOST_RATINGS:
            raise ValueError(f"{scale[1] - scale[0] + 1} ratings; expected at most {MOST_RATINGS}")
        return scale

    @property
    def choices(self) -> tuple[str, ...]:
        """The ratings as the model says them, ascending."""
        return tuple(map(str, range(self.scale[0], self.scale[1] + 1)))

    def of_logprobs(self, logprobs: Sequence[float]) -> Reading:
        if not _holds(logprobs, self.min_mass):
            return UNPARSED
        return expected_rating(logprobs, range(self.scale[0], self.scale[1] + 1))


class PointwiseScore(Section):
    """Rates one answer; read from the number that a text gives as the rating."""

    kind: Literal["pointwise"]
    verdict: Literal["score"]
    scale: _Scale
    """Least and greatest rating; a number off the scale is unparsed."""
    pattern: _Pattern | None = Field(default=None, min_length=1, serialization_alias="label")
    """Regular expression that finds the rating; its one group captures it, and the last match counts. Null takes the
    number after the last word such as "score", or else the only number of the last sentence with any."""

    answer_schema: ClassVar[None] = None

    def of_text(self, text: str) -> Reading:
        return read_number(text, self.scale, None if self.pattern is None else re.compile(self.pattern))


class PointwiseJson(Section):
    """Rates one answer; read from the `score` of a JSON object that follows a schema."""

    kind: Literal["pointwise"]
    verdict: Literal["json"]
    scale: _Scale
    """Least and greatest rating; of two whole numbers, the ratings are whole numbers too."""
    reason: bool = True
    """Whether a `reason` comes before the `score`."""

    @property
    def answer_schema(self) -> str:
        return score_schema(self.scale, self.reason)

    def of_text(self, text: str) -> Reading:
        return _read_score((read_object(text) or {}).get("score"), self.scale)


def _read_score(score: object, scale: Scale) -> Reading:
    """Read a number of a JSON object, or a text that gives one; of a scale of whole numbers, only a whole one."""
    if isinstance(score, str):
        return read_number(score, scale)
    if isinstance(score, bool) or not isinstance(score, int | float) or not scale[0] <= score <= scale[1]:
        return UNPARSED
    whole = all(float(end).is_integer() for end in scale)
    return UNPARSED if whole and not float(score).is_integer() else Reading("ok", float(score))


class PointwiseMarks(Section):
    """Rates one answer by criteria; read from the `marks` of a JSON object, one by each criterion."""

    kind: Literal["pointwise"]
    verdict: Literal["marks"]
    scale: _Scale
    """Least and greatest mark of a criterion without a scale of its own, and of the rating, which is the weighted mean
    of the marks; of two whole numbers, the marks are whole numbers too. A mark that is missing or off its scale leaves
    the verdict unparsed."""
    reason: bool = True
    """Whether a `reason` comes before the `marks`."""

    def reader(self, criteria: Sequence[Criterion]) -> "MarksReader":
        """Return what reads the marks by some criteria."""
        return MarksReader(self, tuple(criteria))


@dataclass(frozen=True, slots=True)
class MarksReader:
    """Reads the marks of an answer by some criteria; see `PointwiseMarks`."""

    front_matter: PointwiseMarks
    criteria: tuple[Criterion, ...]

    @property
    def answer_schema(self) -> str:
        return marks_schema(self.criteria, self.front_matter.scale, self.front_matter.reason)

    def of_text(self, text: str) -> Reading:
        answer = read_object(text) or {}
        # A model that is not held to the schema may leave out the level of `marks`.
        given = answer["marks"] if isinstance(answer.get("marks"), dict) else answer
        names = [name.strip().casefold() for name in given]
        by_name = dict(zip(names, given.values(), strict=True))
        marks: dict[str, float] = {}
        for criterion in self.criteria:
            name, scale = criterion.name.casefold(), criterion.scale or self.front_matter.scale
            reading = _read_score(by_name.get(name), scale) if names.count(name) == 1 else UNPARSED
            if reading.value is None:
                return UNPARSED
            marks[criterion.name] = reading.value
        rating = rating_of(marks, self.criteria, self.front_matter.scale)
        return Reading("ok", rating, tuple(Mark(c.name, marks[c.name], c.weight) for c in self.criteria))


LogprobFrontMatter = PairwiseLogprob | PointwiseLogprob
TextFrontMatter = PairwiseLabel | PairwiseJson | PointwiseScore | PointwiseJson
PairwiseFrontMatter = PairwiseLogprob | PairwiseLabel | PairwiseJson
PointwiseFrontMatter = PointwiseLogprob | PointwiseScore | PointwiseJson | PointwiseMarks
JudgeFrontMatter = PairwiseFrontMatter | PointwiseFrontMatter
FrontMatter = AnswerFrontMatter | JudgeFrontMatter

FRONT_MATTER: TypeAdapter[FrontMatter] = TypeAdapter(
    Annotated[
        AnswerFrontMatter
        | Annotated[PairwiseFrontMatter, Field(discriminator="verdict")]
        | Annotated[PointwiseFrontMatter, Field(discriminator="verdict")],
        Field(discriminator="kind"),
    ]
)
