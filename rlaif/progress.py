"""What a run tells whoever watches it. The loop knows this interface; the terminal and the tests implement it."""

from typing import Protocol


class Progress(Protocol):
    """Takes the news of a run."""

    def stage(self, title: str, total: int, done: int = 0) -> None:
        """Begin a stage of `total` units, of which `done` were committed before."""

    def advance(self, units: int = 1, **figures: float | str) -> None:
        """Report finished units, and figures to show beside them."""

    def say(self, message: str) -> None:
        """Show one line that stays."""


class Silent:
    """A progress that shows nothing."""

    def stage(self, title: str, total: int, done: int = 0) -> None:
        """Show nothing."""

    def advance(self, units: int = 1, **figures: float | str) -> None:
        """Show nothing."""

    def say(self, message: str) -> None:
        """Show nothing."""


class Ahead(Silent):
    """The progress of work beside a stage that is shown: its messages come through, its counts do not.

    Args:
        shown: takes the messages.
    """

    def __init__(self, shown: Progress) -> None:
        self._shown = shown

    def say(self, message: str) -> None:
        """Show one line that stays."""
        self._shown.say(message)
