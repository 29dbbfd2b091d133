"""The JSON object that a judge's model answers with: its schema, and how it is read.

A model that is held to the schema by its endpoint answers with the object alone. Others wrap it: in a fence, in prose,
after a byte-order mark, with keys of their own, with a choice in another case or a number as text. The one object of a
text is read through all of these. Two objects, or a key that occurs twice, are no verdict.
"""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.config import JsonDict

from rlaif.chat import visible_answer
from rlaif.data.criteria import Criterion, Scale
from rlaif.io.json_text import DECODER
from rlaif.prompts.verdict_text import own_words

MOST_RATINGS = 20
"""Most choices of a scale: endpoints return the log-probabilities of 20 tokens."""


def read_object(text: str) -> dict[str, Any] | None:
    """Return the one JSON object of a judge's text; None if there is none, or more than one."""
    words = own_words(visible_answer(text) or "")
    objects = list(_objects(words))
    return objects[0] if len(objects) == 1 else None


def _objects(text: str) -> Iterator[dict[str, Any] | None]:
    """Yield the JSON objects of a text from left to right; None for one that is cut off or names a key twice."""
    position = text.find("{")
    while position >= 0:
        try:
            value, position = DECODER.raw_decode(text, position)
        except (ValueError, RecursionError):
            yield None
            return
        yield value
        position = text.find("{", position)


@lru_cache
def choice_schema(choices: tuple[str, ...], reason: bool) -> str:
    """Return the JSON schema of an answer with a `choice`, after a `reason` where one is asked for."""
    return json.dumps(_schema(_answer_model("choice", Literal[choices], reason)))


@lru_cache
def score_schema(scale: Scale, reason: bool) -> str:
    """Return the JSON schema of an answer with a `score`; of a scale of whole numbers, ratings are whole numbers."""
    return json.dumps(_schema(_answer_model("score", _score_type(*scale), reason)))


def _score_type(low: float, high: float) -> Any:
    if low.is_integer() and high.is_integer() and high - low < MOST_RATINGS:
        # Not every endpoint enforces the bounds of a number; all enforce an enumeration.
        listed: JsonDict = {"enum": list(range(int(low), int(high) + 1))}
        return Annotated[int, Field(ge=low, le=high, json_schema_extra=listed)]
    return Annotated[float, Field(ge=low, le=high, allow_inf_nan=False)]


@lru_cache
def marks_schema(criteria: tuple[Criterion, ...], scale: Scale, reason: bool) -> str:
    """Return the JSON schema of an answer with a mark by each criterion, after a `reason` where one is asked for."""
    fields: dict[str, Any] = {
        f"mark_{index}": (_score_type(*(criterion.scale or scale)), Field(alias=criterion.name))
        for index, criterion in enumerate(criteria)
    }
    marks = create_model("Marks", __config__=ConfigDict(extra="forbid"), **fields)
    tree = _schema(_answer_model("marks", dict[str, float], reason))
    tree["properties"]["marks"] = _schema(marks)
    return json.dumps(tree)


def _answer_model(name: str, type_: Any, reason: bool) -> type[BaseModel]:
    # The reason comes first, so that the model gives it before the verdict.
    fields: dict[str, Any] = {"reason": (str, ...)} if reason else {}
    fields[name] = (type_, ...)
    return create_model("Answer", __config__=ConfigDict(extra="forbid", strict=True), **fields)


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    tree = model.model_json_schema()
    for field in (tree, *tree["properties"].values()):
        field.pop("title", None)
        if "enum" in field:
            field.pop("minimum", None)
            field.pop("maximum", None)
    return tree
