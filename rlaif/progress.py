"""The interface through which work reports its progress. The terminal and the tests implement it."""

from typing import Protocol


class Progress(Protocol):
    """Shows the progress of a run."""

    def stage(self, title: str, total: int, done: int = 0) -> None:
        """Begin a stage of `total` units, of which `done` were committed before."""

    def advance(self, units: int = 1, **figures: float | str) -> None:
        """Report finished units, and figures to show beside them."""

    def say(self, message: str) -> None:
        """Show one line permanently."""


class Silent:
    """A progress that shows nothing."""

    def stage(self, title: str, total: int, done: int = 0) -> None: ...

    def advance(self, units: int = 1, **figures: float | str) -> None: ...

    def say(self, message: str) -> None: ...


class Ahead(Silent):
    """The progress of work that runs beside the stage on display: messages are shown, counts are not."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown

    def say(self, message: str) -> None:
        self._shown.say(message)
