"""Progress in a terminal: a bar with rate and remaining time, or plain lines if the output is not a terminal."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_PLAIN_EVERY = 15.0


class TerminalProgress:
    """Shows the stages of a run on a console; implements `rlaif.progress.Progress`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", style="dim"),
            console=console,
            transient=True,
        )
        self._title, self._total, self._done, self._before = "", 0, 0, 0
        self._began = self._shown = time.monotonic()
        self._figures: dict[str, float | str] = {}
        self._task: TaskID | None = None

    def __enter__(self) -> "TerminalProgress":
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        self._bar.stop()

    def stage(self, title: str, total: int, done: int = 0) -> None:
        """Begin a stage, and leave one line for the stage before."""
        self._finish()
        self._title, self._total, self._done, self._before = title, total, done, done
        self._began = self._shown = time.monotonic()
        self._figures = {}
        if self._console.is_terminal:
            self._task = self._bar.add_task(title, total=total, completed=done, rate="", figures="")
        else:
            kept = f", {done} committed before" if done else ""
            self._console.print(f"{title}: {total} to do{kept}", highlight=False)

    def advance(self, units: int = 1, **figures: float | str) -> None:
        """Move the bar and show the figures."""
        self._done += units
        self._figures |= figures
        if self._task is not None:
            self._bar.update(self._task, completed=self._done, rate=self._rate(), figures=self._figure_text())
        elif self._done < self._total and time.monotonic() - self._shown > _PLAIN_EVERY:
            self._shown = time.monotonic()
            left = self._left()
            self._console.print(
                f"  {self._done}/{self._total}, {self._rate()}{f', {left:.0f} s left' if left is not None else ''}  "
                f"{self._figure_text()}",
                highlight=False,
            )

    def say(self, message: str) -> None:
        """Print a line that stays."""
        self._console.print(message, highlight=False, markup=False)

    def _finish(self) -> None:
        if self._title:
            seconds = time.monotonic() - self._began
            fresh = self._done - self._before
            rate = f", {fresh / seconds:.2g}/s" if fresh > 1 and seconds > 0 else ""
            figures = f"  {self._figure_text()}" if self._figures else ""
            self._console.print(f"{self._title}: done in {seconds:.1f} s{rate}{figures}", highlight=False, markup=False)
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        self._title = ""

    def _rate(self) -> str:
        seconds = time.monotonic() - self._began
        return f"{(self._done - self._before) / seconds:.2g}/s" if seconds > 0 else ""

    def _left(self) -> float | None:
        fresh = self._done - self._before
        return (self._total - self._done) * (time.monotonic() - self._began) / fresh if fresh else None

    def _figure_text(self) -> str:
        parts = (
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in self._figures.items()
        )
        return ", ".join(parts)
