"""Rows of JSON: one object per line, or an array of objects.

Invariant: every object becomes one row with its line; anything else raises `UserError` with its line.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rlaif.errors import Fault, UserError, first_line
from rlaif.io.content import refuse_other, text_lines
from rlaif.io.json_text import DECODER, DuplicateKey, find_duplicate, parse_json, skip_space
from rlaif.io.row import Row

_ONCE = "each key once"
_NAMES = {list: "a list", dict: "an object", str: "a text", type(None): "null", bool: "true or false"}


def jsonl_rows(path: str, file: Any, columns: Sequence[str]) -> Iterator[Row]:
    """Read one object per line; blank lines are none."""
    refuse_other(path, file, "JSON")
    return _line_rows(path, text_lines(path, file))


def _line_rows(path: str, lines: Iterable[str]) -> Iterator[Row]:
    first = True
    for line, content in enumerate(lines, start=1):
        if not content.strip():
            continue
        if first and content.lstrip().startswith("["):
            problem, expected = "begins a JSON array", "one JSON object per line, or a name that ends in .json"
            raise UserError(Fault(path, problem, line, expected=expected))
        first = False
        try:
            values = parse_json(content)
        except DuplicateKey as error:
            raise UserError(Fault(path, first_line(error), line, expected=_ONCE)) from None
        except (ValueError, RecursionError) as error:
            raise UserError(Fault(path, _not_json(error), line, expected="one JSON object per line")) from None
        yield _row(path, values, line)


def json_rows(path: str, file: Any, columns: Sequence[str]) -> Iterator[Row]:
    """Read an array of objects, an object with one key that holds the array, one object, or one object per line.

    Args:
        columns: those wanted; an object that has one of them is a row.
    """
    refuse_other(path, file, "JSON")
    text = "".join(text_lines(path, file))
    start = skip_space(text, 0)
    if text[start : start + 1] == "[":
        yield from _elements(path, text, start)
        return
    if not text[start:]:
        return
    value, end = _decoded(path, text, start)
    if skip_space(text, end) < len(text):
        yield from _line_rows(path, text.split("\n"))
        return
    found = None if not isinstance(value, dict) or value.keys() & set(columns) else _array(path, text, start, value)
    if found is None:
        yield _row(path, value, _line(text, start))
    else:
        yield from _elements(path, text, found)


def _array(path: str, text: str, start: int, value: dict[str, Any]) -> int | None:
    """Return where the only array of objects of an object begins, or None."""
    arrays = {key: item for key, item in value.items() if isinstance(item, list)}
    keys = [key for key, item in arrays.items() if item and all(isinstance(part, dict) for part in item)]
    keys = keys or [key for key, item in arrays.items() if not item]
    if len(keys) != 1:
        return None
    at = skip_space(text, start + 1)
    while True:
        key, at = _decoded(path, text, at)
        at = skip_space(text, skip_space(text, at) + 1)
        if key == keys[0]:
            return at
        at = skip_space(text, skip_space(text, _decoded(path, text, at)[1]) + 1)


def _elements(path: str, text: str, start: int) -> Iterator[Row]:
    """Yield the objects of an array, which begins at `start`."""
    at, number, line, counted = skip_space(text, start + 1), 0, _line(text, start), start
    more = text[at : at + 1] != "]"
    while more:
        number, line, counted = number + 1, line + text.count("\n", counted, at), at
        value, at = _decoded(path, text, at)
        yield _row(path, value, line, number)
        at = skip_space(text, at)
        more = text[at : at + 1] == ","
        if more:
            at = skip_space(text, at + 1)
        elif text[at : at + 1] != "]":
            raise UserError(Fault(path, "not JSON", _line(text, at), expected="a comma or the end of the array"))
    # Of an array within an object the rest was read before.
    if start == skip_space(text, 0) and skip_space(text, at + 1) < len(text):
        raise UserError(Fault(path, "not JSON", _line(text, at), expected="nothing after the end of the array"))


def _row(path: str, value: Any, line: int, number: int | None = None) -> Row:
    if not isinstance(value, dict):
        found = _NAMES.get(type(value), "a number")
        raise UserError(Fault(path, "", line, number, expected="a JSON object", found=found))
    return Row(path, value, list(value), line, number, ragged=True)


def _decoded(path: str, text: str, at: int) -> tuple[Any, int]:
    try:
        return DECODER.raw_decode(text, at)
    except DuplicateKey as error:
        second = find_duplicate(text, at)
        line = _line(text, at if second is None else second)
        raise UserError(Fault(path, first_line(error), line, expected=_ONCE)) from None
    except json.JSONDecodeError as error:
        raise UserError(Fault(path, f"not JSON: {error.msg}", error.lineno)) from None
    except (ValueError, RecursionError) as error:
        raise UserError(Fault(path, _not_json(error), _line(text, at))) from None


def _not_json(error: Exception) -> str:
    return f"not JSON: {first_line(error)}"


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1
