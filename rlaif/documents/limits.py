"""How large a document may be, and how long it may take to read."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one document; one that exceeds them is refused in one line.

    Attributes:
        bytes: of the file.
        pages: of a PDF.
        characters: of its text.
        seconds: to read it.
        memory: bytes that the process that reads it may take.
    """

    bytes: int = 64 << 20
    pages: int = 3_000
    characters: int = 20_000_000
    seconds: float = 180.0
    memory: int = 2 << 30
