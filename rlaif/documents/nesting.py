"""Refuses HTML whose elements lie so deep in each other that a parser takes time in the square of their number."""

import re

from rlaif.documents.faults import UnreadableError

DEEPEST = 1_000
"""Elements of one kind that are open at a time; filings have some dozens."""

# Elements that are never closed by what follows them.
_TAG = re.compile(
    r"<(/?)(div|span|table|font|center|blockquote|section|article|ul|ol|dl|b|i|u|em|strong|small|big|sub|sup|a|form|"
    r"svg|g|math|ix:\w+|nobr|code|tt|s|strike|button|object|select|fieldset|template)(?=[\s/>])",
    re.IGNORECASE,
)


def refuse_deep(text: str) -> None:
    """Raise UnreadableError if more than `DEEPEST` elements of one kind are open at a time."""
    open_: dict[str, int] = {}
    for tag in _TAG.finditer(text):
        name = tag[2].lower()
        depth = max(0, open_.get(name, 0) + (-1 if tag[1] else 1))
        if depth > DEEPEST:
            raise UnreadableError(f"has more than {DEEPEST:,} elements <{name}> in each other")
        open_[name] = depth
