"""Gold answers of questions: one, or several of which each is right.

Invariant: a gold answer is text, never blank. A number or a date is read as its text, and a list of one text
is that text.
"""

import math
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

GoldAnswer = str | tuple[str, ...]
"""One gold answer, or several of which each is right."""


def read_gold_answer(value: object) -> GoldAnswer | None:
    """Return the gold answer that a value of a file or dataset holds; None for null, NaN, "" and an empty list.

    Raises:
        ValueError: the value is of another type, or a list has a blank text.
    """
    if not isinstance(value, (list, tuple)):
        return _text(value) or None
    texts = [_text(item) for item in value]
    if not all(texts):
        raise ValueError("a list with an empty text; expected texts or numbers")
    return texts[0] if len(texts) == 1 else tuple(texts) or None


def shown_gold_answer(gold_answer: str | Sequence[str] | None) -> str:
    """Return a gold answer as one text for a prompt, a table or a page; several are joined, none is ""."""
    return gold_answer if isinstance(gold_answer, str) else ", or: ".join(gold_answer or ())


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    # Parquet files and datasets have dates.
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal, date)):
        raise ValueError("expected a text, a number, or a list of them")
    text = str(value).strip()
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair; expected valid Unicode text") from None
    return text
