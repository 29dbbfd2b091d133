"""PDFs that tests make: by hand, object by object, and by reportlab."""

import io
from collections.abc import Callable, Mapping

from reportlab.lib.pagesizes import letter
from reportlab.pdfgen.canvas import Canvas


def drawn(*pages: Callable[[Canvas], None], **options: object) -> bytes:
    """Return a PDF whose pages functions draw on a canvas."""
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=letter, invariant=1, **options)
    for draw in pages:
        canvas.setFont("Helvetica", 10)
        draw(canvas)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


def lines(*texts: str, x: float = 72, top: float = 720, step: float = 14) -> Callable[[Canvas], None]:
    """Return what draws lines of text."""

    def draw(canvas: Canvas) -> None:
        for number, text in enumerate(texts):
            canvas.drawString(x, top - number * step, text)

    return draw


def by_hand(objects: Mapping[int, bytes], root: int = 1, extra: bytes = b"") -> bytes:
    """Return a PDF of objects with a right table of them, whatever they hold."""
    data = bytearray(b"%PDF-1.7\n")
    places = {}
    for number, content in objects.items():
        places[number] = len(data)
        data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(data)
    count = max(objects) + 1
    data += b"xref\n0 %d\n0000000000 65535 f \n" % count
    for number in range(1, count):
        data += b"%010d 00000 n \n" % places.get(number, 0)
    data += b"trailer\n<< /Size %d /Root %d 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (count, root, extra, start)
    return bytes(data)


def stream(content: bytes, entries: bytes = b"") -> bytes:
    """Return a stream of an object."""
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(content), entries, content)


def one_page(content: bytes, entries: bytes = b"", extra: bytes = b"") -> bytes:
    """Return a PDF of one page whose content stream has these bytes, and whose catalog has something extra."""
    return by_hand({
        1: b"<< /Type /Catalog /Pages 2 0 R %s >>" % extra,
        2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        3: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
           b" /Resources << /Font << /F1 5 0 R >> >> >>",
        4: stream(content, entries),
        5: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    })  # fmt: skip


TEXT = b"BT /F1 12 Tf 72 700 Td (Net sales were 5 million.) Tj ET"
