"""The commands on a page, with the outputs below them.

A bash block is an example; an unlabelled block right below it is its output, in which `...` stands for any text and a
line `...` for any lines. A comment above says how the example is tested: `<!-- shape -->` compares only the form of the
lines; `<!-- demo -->` is a part of what a run prints; `<!-- engine -->` needs engines and `<!-- cluster -->` a Ray
cluster, so that only tests/e2e run them.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlaif.cli.main import app

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(
    r"(?:<!-- (?P<mark>shape|demo|engine|cluster) -->\n+)?^```(?P<kind>\w*)\n(?P<text>.*?)^```\n+"
    r"(?:```\n(?P<output>.*?)^```\n)?",
    re.DOTALL | re.MULTILINE,
)
WIDTH = "120"


@dataclass(frozen=True)
class Example:
    """Commands of one block, and the output that the page shows for them."""

    page: str
    line: int
    mark: str
    commands: tuple[str, ...]
    output: str | None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def examples(page: str) -> list[Example]:
    """Return the examples of a page, in their order; an output without commands above it has none."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for block in _BLOCK.finditer(text):
        line = text.count("\n", 0, block.start("kind")) + 1
        mark = block["mark"] or ""
        if block["kind"] == "bash":
            found.append(Example(page, line, mark, tuple(_commands(block["text"])), block["output"]))
        elif not block["kind"] and mark:
            found.append(Example(page, line, mark, (), block["text"]))
    return found


def _commands(block: str) -> Iterator[str]:
    """Yield the commands of a block: continued lines and here-documents are one each."""
    lines = iter(block.splitlines())
    for line in lines:
        command = line
        while command.endswith("\\"):
            command = command[:-1] + next(lines)
        if ending := re.search(r"<<'(\w+)'", command):
            for line in lines:
                command += f"\n{line}"
                if line == ending[1]:
                    break
            command += "\n"
        if command.strip() and not command.startswith("#"):
            yield command


def run_here(command: str, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Run a command in the working directory; return its standard output, and everything that it printed.

    `rlaif` runs in this process, which spares an interpreter's start for each command; all else runs in bash.
    """
    monkeypatch.setenv("COLUMNS", WIDTH)
    if command.startswith("rlaif "):
        done = CliRunner().invoke(app, shlex.split(command, comments=True)[1:], catch_exceptions=False)
        return done.stdout, done.output
    ran = subprocess.run(["bash", "-ec", command], capture_output=True, text=True, check=True, env=os.environ)
    return ran.stdout, ran.stdout


def matches(shown: str, printed: str) -> bool:
    """Whether a printed text matches the shown one, in which `...` matches anything.

    >>> matches("a\\n...\\nd in ... s", "a\\nb\\nc\\nd in 2.5 s")
    True
    >>> matches("a\\nc", "a\\nb\\nc")
    False
    """
    lines = [
        r"(?:.*\n)*?" if line.strip() == "..." else re.escape(line.rstrip()).replace(r"\.\.\.", ".*?") + r"\n"
        for line in shown.strip("\n").splitlines()
    ]
    return re.fullmatch("".join(lines), _plain(printed)) is not None


def shapes(text: str) -> list[str]:
    """Return each line's form: the name of a name and value, else the words with `#` for each number.

    >>> shapes("  id         demo-train-0-00040\\nround 0: 137 pairs on 20 prompts")
    ['id', 'round #: # pairs on # prompts']
    """
    found = []
    for line in _plain(text).splitlines():
        name = re.match(r" {2}(\w[\w ]*?)  ", line)
        form = (
            name[1]
            if name
            else re.sub(r"\b[0-9a-f]{16,}\b|[-+]?\d[\d.,]*\d|\d", "#", re.sub(r"\S*/", "", line.strip()))
        )
        if form and form != "...":
            # The last cell of a policy's row says whether it was promoted.
            form = re.sub(r"\s(?:yes|no)$", " yes or no", form)
            found.append(re.sub(r"\s+", " ", re.sub(r"─+", "─", form)))
    return found


def has_shapes(shown: str, printed: str) -> bool:
    """Whether each shown line has the form of a printed one; a printed sentence may be wrapped elsewhere."""
    joined = " ".join(shapes(printed))
    return all(shape in joined for shape in shapes(shown))


def _plain(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.strip("\n").splitlines())
