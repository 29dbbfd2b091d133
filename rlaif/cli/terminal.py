"""What a command shows while it works, and its clean end by Ctrl-C and SIGTERM: it commits what it has.

Progress is a bar with rate and remaining time, or plain lines if the output is not a terminal.
"""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich import progress as bars
from rich.console import Console, RenderableType

from rlaif.errors import Interrupted

_PLAIN_EVERY = 15.0


def plain_console(*, stderr: bool = False) -> Console:
    """Return a console that colours only what has markup."""
    return Console(stderr=stderr, highlight=False)


def print_result(facts: object, view: RenderableType, json_: bool) -> None:
    """Print a result as JSON, or as a person reads it."""
    if json_:
        typer.echo(json.dumps(facts))
    else:
        plain_console().print(view)


@contextmanager
def stop_signals(message: str) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM within a block into `Interrupted` with a message."""

    def stop(*_: object) -> None:
        # Like Ctrl-C, so that asyncio cancels running tasks instead of dropping them.
        signal.raise_signal(signal.SIGINT)

    # A shell without job control starts background processes with SIGINT ignored.
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, stop),
    }
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(message) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def working(stopped: str, *, stderr: bool) -> Iterator["TerminalProgress"]:
    """Show the progress of a block, whose end by Ctrl-C or SIGTERM is `Interrupted` with the message `stopped`."""
    with stop_signals(stopped), TerminalProgress(plain_console(stderr=stderr)) as progress:
        yield progress


class TerminalProgress:
    """Shows the stages of a run on a console; implements `rlaif.progress.Progress`."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(bar_width=24),
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[rate]}"),
            bars.TimeElapsedColumn(),
            bars.TextColumn("left"),
            bars.TimeRemainingColumn(),
            bars.TextColumn("{task.fields[figures]}", style="dim"),
            console=console,
            transient=True,
        )
        self._title, self._total, self._done, self._before = "", 0, 0, 0
        self._began = self._shown = time.monotonic()
        self._figures: dict[str, float | str] = {}
        self._task: bars.TaskID | None = None

    def __enter__(self) -> "TerminalProgress":
        if self.console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._finish()
        self._bar.stop()

    def stage(self, title: str, total: int, done: int = 0) -> None:
        """Begin a stage, and leave one line for the stage before; `done` units were committed by an earlier start."""
        self._finish()
        self._title, self._total, self._done, self._before = title, total, done, done
        self._began = self._shown = time.monotonic()
        self._figures = {}
        if self.console.is_terminal:
            self._task = self._bar.add_task(title, total=total, completed=done, rate="", figures="")
        else:
            kept = f", {done} committed before" if done else ""
            self.console.print(f"{title}: {total} to do{kept}")

    def advance(self, units: int = 1, **figures: float | str) -> None:
        """Move the bar and show the figures."""
        self._done += units
        self._figures |= figures
        rate = self._rate()
        if self._task is not None:
            self._bar.update(self._task, completed=self._done, rate=f"{rate:.2g}/s", figures=self._figure_text())
        elif self._done < self._total and time.monotonic() - self._shown > _PLAIN_EVERY:
            self._shown = time.monotonic()
            left = f", {(self._total - self._done) / rate:.0f} s left" if rate else ""
            self.console.print(f"  {self._done}/{self._total}, {rate:.2g}/s{left}  {self._figure_text()}")

    def say(self, message: str) -> None:
        """Print a line that stays."""
        self.console.print(message, markup=False)

    def _finish(self) -> None:
        if self._title:
            seconds = time.monotonic() - self._began
            rate = f", {self._rate():.2g}/s" if self._done - self._before > 1 else ""
            figures = f"  {self._figure_text()}" if self._figures else ""
            self.console.print(f"{self._title}: done in {seconds:.1f} s{rate}{figures}", markup=False)
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._task = None
        self._title = ""

    def _rate(self) -> float:
        seconds = time.monotonic() - self._began
        return (self._done - self._before) / seconds if seconds > 0 else 0.0

    def _figure_text(self) -> str:
        parts = (
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in self._figures.items()
        )
        return ", ".join(parts)
