"""`rlaif ask`: people decide the comparisons that a run has queued for them, in the terminal.

Invariant: an answer is stored before the next comparison is shown; nothing on the screen says what the judge thinks.
"""

import getpass
from typing import TYPE_CHECKING, Annotated

import click
import typer
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.text import Text

from rlaif.cli.options import Runs
from rlaif.cli.single_key import read_key
from rlaif.cli.terminal import plain_console

if TYPE_CHECKING:
    from rlaif.feedback.session import Choice, LabelSession, Shown

_CHOICES: dict[str, "Choice"] = {"1": "1", "2": "2", "0": "tie", "x": "both_bad", "s": "skip"}
_HELP = "1 or 2 better, 0 tie, x both bad, s skip, u undo, e edit, c context, q quit"
# What of a context is shown at once.
_CONTEXT_LINES, _CONTEXT_LETTERS = 12, 1200


def ask(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="The run's name in the folder of runs, or its path or URL.")
    ],
    number: Annotated[
        int | None, typer.Option("--round", min=0, help="The round; by default the last one with a queue.")
    ] = None,
    who: Annotated[str | None, typer.Option(help="Your name beside your answers; by default your user name.")] = None,
    runs: Runs = "runs",
) -> None:
    """Answer the comparisons that a run has queued for people, blind and in random order, by single keys."""
    from rlaif.errors import UserError
    from rlaif.feedback.session import LabelSession, open_round
    from rlaif.store.rundir import find_run

    name = (who if who is not None else getpass.getuser()).strip()
    if not name:
        raise UserError("--who: empty; expected your name")
    session = LabelSession(open_round(find_run(run, runs), number), name)
    console = plain_console()
    for fault in session.faults:
        console.print(f"{fault}; the line does not count", markup=False)
    try:
        _Terminal(session, console).go()
    except KeyboardInterrupt:
        console.print()
    finally:
        written = session.close()
    console.print(f"{session.answered()} of {session.size} comparisons answered by {name}; the same command goes on.")
    if written:
        console.print(f"demonstrations: {written}", markup=False, soft_wrap=True)


class _Terminal:
    """Shows comparisons and takes keys until the queue or the input ends."""

    def __init__(self, session: "LabelSession", console: Console) -> None:
        self._session, self._console = session, console

    def go(self) -> None:
        shown = self._session.next()
        while True:
            if shown is None:
                self._console.print("Nothing is left to answer: u undoes your last answer, any other key ends.")
            else:
                self._console.print(self._view(shown))
            key = read_key()
            if key is None or key == "q" or (shown is None and key != "u"):
                return
            shown = self._act(key, shown)

    def _act(self, key: str, shown: "Shown | None") -> "Shown | None":
        """Do what a key asks for, and return the comparison to show next."""
        if key == "u":
            undone = self._session.undo()
            if undone is None:
                self._console.print("There is no answer to undo.")
            return undone or shown
        if shown is None:
            return None
        if choice := _CHOICES.get(key):
            self._session.answer(shown, choice)
            return self._session.next()
        if key == "e":
            return self._edit(shown)
        if key == "c":
            with self._console.pager():
                self._console.print(_safe(shown.item.context or "no context"))
        else:
            self._console.print(_HELP)
        return shown

    def _edit(self, shown: "Shown") -> "Shown":
        """Let the person write the answer that they would have given."""
        if shown.demonstration is not None:
            begin = shown.demonstration
        else:
            self._console.print("Begin with answer 1 or 2, or with nothing (0)?")
            key = read_key()
            if key not in ("0", "1", "2"):
                return shown
            begin = "" if key == "0" else shown.answers[int(key) - 1]
        try:
            text = (click.edit(begin) or "").strip()
        except click.ClickException as failed:
            self._console.print(failed.message, markup=False)
            return shown
        if not text:
            self._console.print("Nothing was written.")
            return shown
        return self._session.demonstrate(shown, text)

    def _view(self, shown: "Shown") -> RenderableType:
        item = shown.item
        parts: list[RenderableType] = [
            Rule(Text(f"{self._session.answered() + 1} of {self._session.size}"), align="left"),
            *_part("question", item.question),
        ]
        if item.context:
            begin = "\n".join(item.context.splitlines()[:_CONTEXT_LINES])[:_CONTEXT_LETTERS]
            left = len(item.context) - len(begin)
            parts += _part("context", begin)
            parts += [Text(f"  ... {left:,} more characters: c shows all", style="dim")] if left > 0 else []
        for number, answer in enumerate(shown.answers, start=1):
            parts += _part(f"answer {number}", answer or "(empty)")
        if shown.demonstration is not None:
            parts += _part("your own answer", shown.demonstration)
        return Group(*parts, Text(f"\n{_HELP}", style="dim"))


def _part(title: str, text: str) -> list[RenderableType]:
    return [Text(f"\n{title}", style="bold"), Padding(_safe(text), (0, 0, 0, 2))]


def _safe(text: str) -> Text:
    from rlaif.reporting.terminal import plain

    return plain(text)
