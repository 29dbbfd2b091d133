"""Reads the tool calls of a message.

Invariant: a call has the form of OpenAI's API with `arguments` as an object, which all chat templates write as JSON. A
JSON text they would quote a second time.
"""

import json
from collections.abc import Mapping
from typing import Any

from rlaif.errors import first_line, shown
from rlaif.io.json_text import parse_json
from rlaif.io.rows import Row

_DEEPEST = 64


def read_tool_calls(row: Row, field: str, value: object) -> list[dict[str, Any]]:
    """Read a list of calls, one call, or the JSON of either. A call has a name and arguments, or these in `function`.

    Raises:
        UserError: with the file, the line and the call's number, from 0.
    """
    calls = checked_json(row, field, value)
    if isinstance(calls, dict):
        calls = [calls]
    if not isinstance(calls, list):
        raise row.error(field, expected="a list of tool calls", found=shown(value))
    return [_call(row, f"{field}.{number}", call) for number, call in enumerate(calls)]


def _call(row: Row, field: str, call: object) -> dict[str, Any]:
    if not isinstance(call, dict):
        raise row.error(field, expected="a function with a name and arguments", found=shown(call))
    function = call.get("function", call)
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name:
        raise row.error(f"{field}.function.name", expected="the name of a function", found=shown(name))
    given = function.get("arguments", function.get("parameters"))
    arguments = {} if given in (None, "") else checked_json(row, f"{field}.function.arguments", given)
    if not isinstance(arguments, dict):
        expected = "an object, or its JSON"
        raise row.error(f"{field}.function.arguments", expected=expected, found=shown(given))
    known = {"id": call["id"]} if isinstance(call.get("id"), str) else {}
    return {**known, "type": "function", "function": {"name": name, "arguments": arguments}}


def checked_json(row: Row, field: str, value: object) -> Any:
    """Return a value of plain JSON types, parsed if it is a text; fields that only other rows of a Parquet file have
    are left out.

    Raises:
        UserError: a text is no JSON, or the value is nested too deeply, holds half of a surrogate pair or no JSON type.
    """
    structs = row.line is None and not row.ragged and not isinstance(value, str)
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except (ValueError, RecursionError) as error:
            raise row.error(field, f"not JSON: {first_line(error)}", found=shown(value)) from None
    try:
        plain = _plain(value, structs, _DEEPEST)
        json.dumps(plain, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise row.error(field, "half of a surrogate pair", expected="valid Unicode text") from None
    except (TypeError, ValueError) as error:
        raise row.error(field, first_line(error), expected="JSON") from None
    return plain


def _plain(value: Any, structs: bool, depth: int) -> Any:
    if depth == 0:
        raise ValueError(f"nested more than {_DEEPEST} levels deep")
    if isinstance(value, Mapping):
        kept = ((key, item) for key, item in value.items() if item is not None or not structs)
        return {str(key): _plain(item, structs, depth - 1) for key, item in kept}
    if isinstance(value, list | tuple):
        return [_plain(item, structs, depth - 1) for item in value]
    return value
