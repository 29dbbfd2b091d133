"""Damaged and hostile files: each is one line and costs no other document, in bounded time and memory."""

import os
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rlaif.documents.document import Document
from rlaif.documents.limits import Limits
from rlaif.documents.links import find_documents
from rlaif.documents.reader_process import ReaderProcess
from rlaif.documents.reading import read_document
from rlaif.errors import Fault, UserError
from rlaif.retrieval.library import read_library
from tests.hostile_files import GOOD, write_hostile

MEMORY = 1 << 30


def test_a_hundred_hostile_files_cost_no_document(tmp_path: Path) -> None:
    folder = tmp_path / "hostile"
    hostile = write_hostile(folder)
    assert hostile >= 100
    for name in ("a-good.pdf", "h-good.pdf", "z-good.pdf"):
        (folder / name).write_bytes(GOOD)
    (folder / "linked.pdf").symlink_to(folder / "nowhere.pdf")
    os.mkfifo(folder / "endless.pdf")
    # Other tests of this process may have had larger children.
    began, most = time.monotonic(), peak_of_children()
    links = find_documents([str(folder)])
    outcomes = list(read_library(links, limits=Limits(seconds=5, memory=MEMORY), processes=1))
    assert len(outcomes) == len(links) == hostile + 5
    good = read_document(GOOD, "good")
    for link, outcome in zip(links, outcomes, strict=True):
        assert not isinstance(link, Fault)
        if link.name.endswith("-good"):
            assert outcome == replace(good, name=link.name)
        elif isinstance(outcome, Fault):
            assert outcome.path == link.path
            assert "\n" not in str(outcome)
        else:
            assert outcome.name == link.name
    faults = {Path(outcome.path).name for outcome in outcomes if isinstance(outcome, Fault)}
    # Nothing of a cut file is taken for the whole, and no script and no reference out of a file is followed.
    assert {name for name in os.listdir(folder) if name.startswith("cut-")} <= faults
    assert {"encrypted.pdf", "image-only.pdf", "script-only.html", "hidden-only.html", "endless.pdf"} <= faults
    assert not any("root:" in str(outcome) for outcome in outcomes if isinstance(outcome, Document))
    # Only forms that draw themselves run into the limit of time here.
    assert time.monotonic() - began < 300
    assert peak_of_children() <= max(most, 1.5 * MEMORY)


def peak_of_children() -> int:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10


@pytest.fixture(scope="module")
def reader() -> Iterator[ReaderProcess]:
    with ReaderProcess() as process:
        yield process


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (GOOD[:-200], "is cut: its end is missing"),
        (b"%PDF-1.7\n%%EOF", "is no whole PDF: it may be cut or damaged"),
        (b"PK\x03\x04", "holds a zip archive or an Office file; expected a PDF, HTML, text or Markdown"),
        (b"", "is empty"),
        (b"\xff\xff", "is no text in UTF-8; expected a PDF, HTML, or text in UTF-8"),
        (b"<html>" + b"<div>" * 2_000, "has more than 1,000 elements <div> in each other"),
    ],
)
def test_a_fault_says_what_is_wrong(content: bytes, problem: str, reader: ReaderProcess) -> None:
    with pytest.raises(UserError) as raised:
        reader.read(content, "a.pdf")
    assert str(raised.value) == f"a.pdf: {problem}"


def test_a_process_reads_what_this_one_reads(reader: ReaderProcess) -> None:
    for content in (GOOD, b"# Sales\n\nThey rose.", b"<html><p>They rose.</p></html>"):
        assert reader.read(content, "a") == read_document(content, "a")


def test_too_little_time_is_a_fault_and_the_next_document_is_read() -> None:
    with ReaderProcess(Limits(seconds=0.0)) as process, pytest.raises(UserError, match="takes more than 0 seconds"):
        process.read(GOOD, "a")


def test_a_process_that_is_killed_is_replaced() -> None:
    with ReaderProcess() as process:
        process.read(GOOD, "a")
        process._process.kill()
        with pytest.raises(UserError, match="ends the process that reads it"):
            process.read(GOOD, "a")
        assert process.read(GOOD, "a").pages
