"""A run on a few small filings, as far as it goes before engines start: its questions get their contexts."""

import json
from pathlib import Path

from rlaif.recipe import parse_recipe
from rlaif.rounds.contexts_stage import with_contexts
from rlaif.rounds.identity import begin, check_same_run
from rlaif.rounds.setup import Setup, prepare
from rlaif.store.rundir import RunDir

RECIPE = """
policy: {model: "builtin:smollm2-135m"}
questions:
  train: {type: file, path: train.jsonl}
  heldout: {type: file, path: heldout.jsonl}
  test: {type: file, path: test.jsonl}
  documents: {folder: filings, top_k: 2}
judge: {name: reference}
"""
REVENUE = {"id": "r", "question": "What was Alder's revenue?", "document": "ALDER", "gold_answer": "$41.2 million"}
STORES = {"id": "s", "question": "How many stores had Birch?", "document": "BIRCH", "gold_answer": "12"}
OWN = {"id": "own", "question": "Sales?", "context": "Sales were 5.", "gold_answer": "5"}
LOST = {"id": "lost", "question": "Sales?", "document": "CEDAR", "gold_answer": "5"}
BROKEN = {"id": "broken", "question": "Sales?", "document": "BROKEN", "gold_answer": "5"}


class Said:
    """A progress that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def stage(self, title: str, total: int, done: int = 0) -> None: ...

    def advance(self, units: int = 1, **figures: float | str) -> None: ...

    def say(self, message: str) -> None:
        self.lines.append(message)


def make_filings() -> None:
    """Write the filings and the questions into the working directory."""
    Path("filings").mkdir()
    Path("filings/ALDER.md").write_text("# Alder\n\nRevenue was $41.2 million.\n\n# People\n\nSeven.")
    Path("filings/BIRCH.txt").write_text("Birch had 12 stores.")
    Path("filings/BROKEN.pdf").write_bytes(b"%PDF-1.7\nnothing else")
    write("train", REVENUE, OWN, LOST, BROKEN)
    write("heldout", {**STORES, "id": "h1"}, {**LOST, "id": "h2"})
    write("test", STORES)


def write(name: str, *rows: dict[str, str]) -> None:
    """Write the questions of a set."""
    Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def setup_of(*overrides: str) -> Setup:
    """Check the recipe, with overrides."""
    return prepare(parse_recipe(RECIPE, "mine.yaml", ["name=mine", *overrides]), "runs")


def start(*overrides: str) -> tuple[Setup, list[str]]:
    """Do what a start of a run does before engines start."""
    setup, said = setup_of(*overrides), Said()
    run = RunDir(setup.path)
    check_same_run(run, setup)
    begin(run, setup, "a" * 64)
    return with_contexts(setup, run, said), said.lines
