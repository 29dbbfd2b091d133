"""`rlaif documents`: what is read of documents, as searches and contexts have it."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from rlaif.documents.document import Chunk, Document

Shown = Literal["summary", "pages", "tables", "chunks"]

_Paths = Annotated[
    list[str],
    typer.Argument(metavar="PATH...", help="Files and folders, fsspec URLs, or with --fetch web addresses."),
]
_Fetch = Annotated[bool, typer.Option("--fetch", help="Fetch documents whose address is given, by https.")]
_UserAgent = Annotated[
    str | None, typer.Option(help="Who fetches, with an email address: `Acme research ann@example.org`.")
]


def read(
    paths: _Paths,
    show: Annotated[Shown, typer.Option(help="What to print of each document.")] = "summary",
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FILE", help="Write the chunks, as .parquet or .jsonl.")
    ] = None,
    chunk_words: Annotated[int, typer.Option(min=20, help="Words of prose in a chunk, at most.")] = 200,
    fetch: _Fetch = False,
    user_agent: _UserAgent = None,
    max_mib: Annotated[float, typer.Option(min=0, help="Size of a document, at most.")] = 64,
    address: Annotated[
        str | None, typer.Option("--address", help="Ray cluster to read on; by default processes of this machine.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object for each document.")] = False,
) -> None:
    """Read documents: PDF, HTML, text and Markdown become pages, tables and chunks.

    A document that cannot be read is one line on standard error, and the others are read.
    """
    from rlaif.cluster.ray_cluster import ray_cluster
    from rlaif.documents.cache import DocumentCache
    from rlaif.documents.chunks import chunks_of
    from rlaif.documents.fetching import Fetcher, FetchSettings
    from rlaif.documents.limits import Limits
    from rlaif.documents.links import find_documents
    from rlaif.errors import Fault, UserError, WorkError
    from rlaif.retrieval.chunk_file import chunk_writer
    from rlaif.retrieval.library import read_library

    limits = Limits(bytes=int(max_mib * (1 << 20)))
    if fetch and user_agent is None:
        raise UserError("--user-agent: expected who fetches, with an email address, as servers ask for it")
    fetcher = Fetcher(FetchSettings(user_agent, bytes=limits.bytes)) if fetch and user_agent is not None else None
    failed = total = 0
    with ExitStack() as stack:
        write = stack.enter_context(chunk_writer(out)) if out is not None else None
        if address is not None:
            stack.enter_context(ray_cluster(address))
        for outcome in read_library(find_documents(paths), limits=limits, fetcher=fetcher, cache=DocumentCache()):
            total += 1
            if isinstance(outcome, Fault):
                failed += 1
                typer.echo(f"rlaif: {outcome}", err=True)
                continue
            chunks = chunks_of(outcome, chunk_words)
            if write is not None:
                write(chunks)
            for line in _json(outcome, chunks, show) if json_ else _lines(outcome, chunks, show):
                typer.echo(line)
    if failed:
        raise WorkError(f"{failed:,} of {total:,} documents could not be read")


def _summary(document: "Document", chunks: "list[Chunk]") -> dict[str, Any]:
    from rlaif.documents.document import Table

    tables = sum(isinstance(block, Table) for page in document.pages for block in page.blocks)
    counts = {"pages": len(document.pages), "tables": tables, "chunks": len(chunks)}
    return {"name": document.name, "sha256": document.sha256, **counts}


def _json(document: "Document", chunks: "list[Chunk]", show: Shown) -> Iterator[str]:
    from dataclasses import asdict

    from rlaif.documents.document import Table

    made = _summary(document, chunks)
    if show == "chunks":
        made["chunks"] = [asdict(chunk) for chunk in chunks]
    elif show != "summary":
        made["pages"] = [
            {
                "number": page.number,
                "blocks": [asdict(block) for block in page.blocks if show == "pages" or isinstance(block, Table)],
            }
            for page in document.pages
        ]
    yield json.dumps(made)


def _lines(document: "Document", chunks: "list[Chunk]", show: Shown) -> Iterator[str]:
    from rlaif.documents.document import Table
    from rlaif.documents.tables import shown_rows

    made = _summary(document, chunks)
    yield f"{document.name}: {made['pages']:,} pages, {made['tables']:,} tables, {made['chunks']:,} chunks"
    if show == "chunks":
        for chunk in chunks:
            yield f"\n[{chunk.id}] page {chunk.page}, {chunk.place}\n{chunk.text}"
    elif show != "summary":
        for page in document.pages:
            for block in page.blocks:
                if isinstance(block, Table):
                    lines = [block.title, block.unit, *shown_rows(block), *block.notes]
                    yield "\n".join([f"\npage {page.number}, table", *filter(None, lines)])
                elif show == "pages":
                    yield f"\npage {page.number}{', heading' if block.heading else ''}\n{block.text}"


COMMANDS: dict[str, Callable[..., None]] = {"read": read}
