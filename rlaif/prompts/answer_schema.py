"""The JSON objects that judges answer with: their pydantic models and JSON schemas."""

import json
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.config import JsonDict

MOST_RATINGS = 20
"""Most choices of a scale: endpoints return the log-probabilities of 20 tokens."""


@lru_cache
def choice_model(choices: tuple[str, ...], reason: bool) -> type[BaseModel]:
    """Return the model of an answer with a `choice`, after a `reason` where one is asked for."""
    return _answer_model("choice", Literal[choices], reason)


@lru_cache
def score_model(low: float, high: float, reason: bool) -> type[BaseModel]:
    """Return the model of an answer with a `score` on a scale; of two whole numbers, ratings are whole numbers too."""
    if low.is_integer() and high.is_integer() and high - low < MOST_RATINGS:
        # Not every endpoint enforces the bounds of a number; all enforce an enumeration.
        listed: JsonDict = {"enum": list(range(int(low), int(high) + 1))}
        return _answer_model("score", Annotated[int, Field(ge=low, le=high, json_schema_extra=listed)], reason)
    return _answer_model("score", Annotated[float, Field(ge=low, le=high, allow_inf_nan=False)], reason)


def _answer_model(name: str, type_: Any, reason: bool) -> type[BaseModel]:
    """Return the model of an answer; its reason comes first, so that the model gives it before the verdict."""
    fields: dict[str, Any] = {"reason": (str, ...)} if reason else {}
    fields[name] = (type_, ...)
    return create_model("Answer", __config__=ConfigDict(extra="forbid", strict=True), **fields)


@lru_cache
def schema_of(model: type[BaseModel]) -> str:
    """Return a model's JSON schema, as JSON."""
    tree = model.model_json_schema()
    for field in (tree, *tree["properties"].values()):
        field.pop("title", None)
        if "enum" in field:
            field.pop("minimum", None)
            field.pop("maximum", None)
    return json.dumps(tree)
