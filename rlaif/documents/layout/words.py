"""Words and rules of a page, with their places in points from its upper left corner."""

from dataclasses import dataclass


@dataclass(slots=True)
class Word:
    """A word.

    Attributes:
        x0, x1, y0, y1: left, right, upper and lower edge.
        first: index of its first character on the page.
    """

    text: str
    x0: float
    x1: float
    y0: float
    y1: float
    first: int


@dataclass(frozen=True, slots=True)
class Rule:
    """A horizontal line that is drawn on a page."""

    y: float
    x0: float
    x1: float


@dataclass(frozen=True, slots=True)
class PageWords:
    """What is read of a page.

    Attributes:
        heavy: numbers of the words whose font is bold.
    """

    words: list[Word]
    rules: list[Rule]
    width: float
    height: float
    heavy: frozenset[int]
