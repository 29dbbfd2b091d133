"""Values of files as text: the same rules for every container and every reader.

Invariant: nothing becomes text that a person would not write so; null, NaN and "" are the same: no value.
"""

import json
import math
import re
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

# The first item of a list or object as Python, NumPy or pandas print it.
_PYTHON = re.compile(r"""[\[{]\s*(?:[\[{]\s*)*(?:'|None\b|True\b|False\b|array\()""")


def is_missing(value: object) -> bool:
    """Return whether a value counts as none: null, NaN or "". The texts `nan`, `None` and `null` are texts."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def plain_text(value: object) -> str:
    """Return a text as it is, a number by its digits, and a date as YYYY-MM-DD, with its time unless that is midnight.

    Raises:
        ValueError: the value is another, or no valid Unicode.
    """
    if isinstance(value, datetime) and value.time() == time():
        value = value.date()
    number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    if not (isinstance(value, (str, date)) or (number and value == value)):
        raise ValueError("expected a text or a number")
    text = str(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair; expected valid Unicode text") from None
    return text


def decoded_cell(text: str) -> Any:
    """Return the list or object that a cell of CSV holds as JSON, or the text.

    A list of numbers alone is a text, such as an interval: `[0, 1]`.

    Raises:
        ValueError: the text is a list or an object as Python prints it, which is not JSON.
    """
    stripped = text.strip()
    if not stripped.startswith(("[", "{")) or stripped[-1] not in "]}":
        return text
    try:
        found = json.loads(stripped)
    except (ValueError, RecursionError):
        if _PYTHON.match(stripped):
            raise ValueError('a list or an object as Python prints it; expected JSON, such as ["a", "b"]') from None
        return text
    numbers = isinstance(found, list) and found and all(isinstance(item, (int, float)) for item in found)
    return text if numbers else found
