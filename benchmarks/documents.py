"""How fast documents are read, against pypdf's text of the same pages in the same process.

    python benchmarks/documents.py [FILE.pdf ...]

Without files it makes two: pages of text, and pages of tables. It prints pages a second of one core for ours, with
tables, chunks and all, for pypdf's plain text, and their ratio.
"""

import io
import sys
import time
from collections.abc import Callable

from pypdf import PdfReader
from reportlab.lib.pagesizes import letter
from reportlab.pdfgen.canvas import Canvas

from rlaif.documents.chunks import chunks_of
from rlaif.documents.reading import read_document

PAGES = 40
SENTENCE = "The increase in net sales was primarily due to higher volumes, favorable prices and the new stores."


def text_page(canvas: Canvas) -> None:
    for line in range(46):
        canvas.drawString(60, 740 - 15 * line, SENTENCE)


def table_page(canvas: Canvas) -> None:
    canvas.drawCentredString(306, 750, "CONSOLIDATED STATEMENTS OF INCOME")
    canvas.drawCentredString(306, 738, "(in millions, except per share data)")
    for column in range(6):
        canvas.drawRightString(300 + 50 * column, 715, str(2023 - column))
    for row in range(46):
        canvas.drawString(60, 700 - 14 * row, f"Operating expenses of segment {row}")
        for column in range(6):
            canvas.drawRightString(300 + 50 * column, 700 - 14 * row, f"{row * 137 + column * 11:,}.{column}")


def made(draw: Callable[[Canvas], None]) -> bytes:
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=letter, invariant=1)
    for _ in range(PAGES):
        canvas.setFont("Times-Roman", 10)
        draw(canvas)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def rate(read: Callable[[bytes], int], data: bytes) -> float:
    """Return pages a second of processor time, of the best of three."""
    best = 0.0
    for _ in range(3):
        began = time.process_time()
        pages = read(data)
        best = max(best, pages / (time.process_time() - began))
    return best


def ours(data: bytes) -> int:
    document = read_document(data, "benchmark")
    chunks_of(document)
    return len(document.pages)


def theirs(data: bytes) -> int:
    pages = PdfReader(io.BytesIO(data)).pages
    for page in pages:
        page.extract_text()
    return len(pages)


def main() -> None:
    files = {path: open(path, "rb").read() for path in sys.argv[1:]}  # noqa: SIM115
    for name, data in (files or {"pages of text": made(text_page), "pages of tables": made(table_page)}).items():
        mine, other = rate(ours, data), rate(theirs, data)
        print(f"{name}: {mine:.0f} pages a second, pypdf {other:.0f}, ratio {mine / other:.1f}")


if __name__ == "__main__":
    main()
