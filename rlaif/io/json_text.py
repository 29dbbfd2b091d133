"""JSON in which a key that an object has twice is an error, rather than the last one's value."""

import json
import re
from typing import Any

_SPACE = re.compile(r"\s*")


class DuplicateKey(ValueError):
    """An object has a key twice."""

    def __init__(self, key: str) -> None:
        super().__init__(f"an object has the key {key!r} twice")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen = set[str]()
        for key, _ in pairs:
            if key in seen:
                raise DuplicateKey(key)
            seen.add(key)
    return found


DECODER = json.JSONDecoder(object_pairs_hook=_once)
_LAST_WINS = json.JSONDecoder()


def parse_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        DuplicateKey: an object has a key twice.
        ValueError: the text is no JSON.
        RecursionError: it is nested too deeply.
    """
    return DECODER.decode(text)


def skip_space(text: str, at: int) -> int:
    """Return where the white space ends that begins at `at`."""
    found = _SPACE.match(text, at)
    return found.end() if found else at


def find_duplicate(text: str, at: int) -> int | None:
    """Return where a key stands the second time in the JSON value at `at`; None if there is no such key."""
    opening = text[at]
    if opening not in "[{":
        return None
    keys = set[str]()
    at = skip_space(text, at + 1)
    while text[at] not in "]}":
        if opening == "{":
            key, end = _LAST_WINS.raw_decode(text, at)
            if key in keys:
                return at
            keys.add(key)
            at = skip_space(text, skip_space(text, end) + 1)
        end = _LAST_WINS.raw_decode(text, at)[1]
        if text[at] in "[{" and (found := find_duplicate(text, at)) is not None:
            return found
        at = skip_space(text, end)
        if text[at] == ",":
            at = skip_space(text, at + 1)
    return None
