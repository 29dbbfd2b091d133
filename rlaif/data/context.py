"""Contexts of questions, in the forms in which data sets hold them.

Invariant: a context is one text with all its parts in their order, or a `ValueError`; no part is left out.
"""

from collections.abc import Mapping
from typing import Any

from rlaif.io.values import is_missing, plain_text

_EXPECTED = "expected text, or a list of texts or of objects with a text"


def read_context(value: object) -> str:
    """Return a context as text; blank lines join the parts of a list.

    A part is a text, an object with a `text`, a key that ends in `_text` or `sentences` below a `title`, or a title
    with its sentences, as in HotpotQA. An object of lists of one length is a list of objects, as `datasets` writes it.

    Raises:
        ValueError: the value or a part of it is something else.

    >>> read_context({"title": ["A", "B"], "sentences": [["One.", " Two."], ["Three."]]})
    'A\\nOne. Two.\\n\\nB\\nThree.'
    """
    if value is None:
        return ""
    if isinstance(value, Mapping):
        value = _objects(value)
    if not isinstance(value, (list, tuple)):
        return plain_text(value)
    parts = (_part(part) for part in value)
    return "\n\n".join(part for part in parts if part)


def _objects(value: Mapping[str, Any]) -> list[Any]:
    lists = list(value.values())
    if not all(isinstance(item, list) for item in lists) or len({len(item) for item in lists}) != 1:
        return [value]
    return [dict(zip(value, items, strict=True)) for items in zip(*lists, strict=True)]


def _part(part: object) -> str:
    if isinstance(part, str):
        return part.strip()
    if isinstance(part, Mapping):
        texts = [part["text"]] if "text" in part else [part[key] for key in part if key.endswith("_text")]
        if len(texts) == 1 and isinstance(texts[0], str):
            return texts[0].strip()
        if "sentences" in part:
            return _titled(part.get("title"), part["sentences"])
    if isinstance(part, (list, tuple)) and len(part) == 2 and isinstance(part[1], list):
        return _titled(*part)
    raise ValueError(f"{_EXPECTED}; a part is {_kind(part)}")


def _titled(title: object, sentences: object) -> str:
    """Return the sentences of a paragraph below its title, if it has one."""
    several = [sentences] if isinstance(sentences, str) else sentences
    if not (isinstance(several, (list, tuple)) and all(isinstance(sentence, str) for sentence in several)):
        raise ValueError(f"{_EXPECTED}; sentences are {_kind(sentences)}")
    text = " ".join(filter(None, (sentence.strip() for sentence in several)))
    return text if is_missing(title) else f"{plain_text(title).strip()}\n{text}"


def _kind(value: object) -> str:
    return {"list": "a list", "dict": "an object", "NoneType": "null"}.get(type(value).__name__, type(value).__name__)
