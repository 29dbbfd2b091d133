"""Gold answers of questions: one, or several of which each is right.

Invariant: a gold answer is text, never blank. A number or a date is read as its text, and a list of one text
is that text.
"""

from collections.abc import Mapping, Sequence

from rlaif.io.values import is_missing, plain_text

GoldAnswer = str | tuple[str, ...]
"""One gold answer, or several of which each is right."""


def read_gold_answer(value: object) -> GoldAnswer | None:
    """Return the gold answer that a value of a file or dataset holds; None for null, NaN, "" and an empty list.

    An object with a list `text` holds several, as in SQuAD, where people often gave the same one.

    Raises:
        ValueError: the value is of another type, or a list has a blank text.

    >>> read_gold_answer({"text": ["1886", "1886", "in 1886"], "answer_start": [5, 5, 2]})
    ('1886', 'in 1886')
    """
    if isinstance(value, Mapping) and isinstance(value.get("text"), list):
        value = list(dict.fromkeys(map(_text, value["text"])))
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
    if is_missing(value):
        return ""
    try:
        return plain_text(value).strip()
    except ValueError as error:
        raise ValueError(
            str(error) if isinstance(value, str) else "expected a text, a number, or a list of them"
        ) from None
