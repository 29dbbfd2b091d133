"""A hundred files that are damaged, or made to harm who reads them."""

import random
import zlib
from io import BytesIO
from pathlib import Path

from pypdf import PdfReader, PdfWriter

from tests.made_pdf import TEXT, by_hand, drawn, lines, one_page, stream

GOOD = drawn(*(lines(f"Page {number}", "Net sales were 5 million.", top=600) for number in range(1, 5)))


def write_hostile(folder: Path) -> int:
    """Write the files into a folder, and return their number."""
    files = {**_damaged(), **_pdfs(), **_pages(), **_others()}
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return len(files)


def _damaged() -> dict[str, bytes]:
    """Cut files, and files with wrong bytes."""
    files = {f"cut-{part:02}.pdf": GOOD[: len(GOOD) * part // 25] for part in range(1, 25)}
    for seed in range(24):
        draw = random.Random(seed)
        data = bytearray(GOOD)
        for _ in range(40 * (1 + seed % 4)):
            data[draw.randrange(8, len(data))] = draw.randrange(256)
        files[f"bytes-{seed:02}.pdf"] = bytes(data)
    for seed in range(6):
        files[f"noise-{seed}.pdf"] = b"%PDF-1.7\n" + random.Random(seed).randbytes(20_000) + b"%%EOF"
    return files


def _bomb(mib: int) -> bytes:
    """Return spaces, compressed a thousandfold."""
    press = zlib.compressobj(1)
    return b"".join([*(press.compress(b" " * (1 << 20)) for _ in range(mib)), press.flush()])


def _pdfs() -> dict[str, bytes]:
    catalog = b"<< /Type /Catalog /Pages 2 0 R >>"
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] >>"
    writer = PdfWriter(clone_from=PdfReader(BytesIO(GOOD)))
    writer.encrypt("secret", algorithm="RC4-128")
    encrypted = BytesIO()
    writer.write(encrypted)
    long_text = b"BT /F1 1 Tf " + b"(aaaaaaaaaaaaaaaaaaaa) Tj " * 12_000 + b"ET"
    many = b"<< /Type /Pages /Count 60000 /Kids [%s] >>" % (b"3 0 R " * 60_000)
    loop = b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 1000000 >>"
    action = b"/OpenAction << /S /JavaScript /JS (while\\(true\\){app.alert\\(1\\)}) >>"
    launch = b"/OpenAction << /S /Launch /F (/bin/sh) >>"
    flate = b"/Filter /FlateDecode"
    form = b"<< /Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /X 4 0 R >> >> >>"
    return {
        "encrypted.pdf": encrypted.getvalue(),
        "no-pages.pdf": by_hand({1: catalog, 2: b"<< /Type /Pages /Kids [] /Count 0 >>"}),
        "no-catalog.pdf": by_hand({1: b"<< >>"}),
        "pages-in-themselves.pdf": by_hand({1: catalog, 2: loop}),
        "many-pages.pdf": by_hand({1: catalog, 2: many, 3: page}),
        "count-of-pages.pdf": by_hand({1: catalog, 2: b"<< /Type /Pages /Kids [3 0 R] /Count 2147483647 >>", 3: page}),
        "negative-count.pdf": by_hand({1: catalog, 2: b"<< /Type /Pages /Kids [3 0 R] /Count -1 >>", 3: page}),
        "image-only.pdf": drawn(lambda canvas: canvas.rect(72, 72, 200, 200, fill=1)),
        "flate-bomb.pdf": one_page(_bomb(16), flate),
        "flate-bomb-twice.pdf": one_page(zlib.compress(_bomb(16)), b"/Filter [/FlateDecode /FlateDecode]"),
        "text-bomb.pdf": one_page(zlib.compress(long_text), flate),
        "script.pdf": one_page(TEXT, extra=action),
        "launch.pdf": one_page(TEXT, extra=launch),
        "deep-arrays.pdf": one_page(b"[" * 500_000 + TEXT),
        "deep-objects.pdf": by_hand({1: b"<< /A " * 100_000 + b">>" * 100_000, 2: loop}),
        "deep-states.pdf": one_page(b"q " * 100_000 + TEXT),
        "form-in-itself.pdf": by_hand({
            1: catalog, 2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            3: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 5 0 R /Resources << /XObject <<"
               b" /X 4 0 R >> >> >>",
            4: stream(b"/X Do /X Do", form[3:-3]), 5: stream(b"/X Do /X Do"),
        }),
        "xref-loop.pdf": by_hand({1: catalog, 2: loop}, extra=b"/Prev 9"),
        "huge-numbers.pdf": one_page(b"BT /F1 1e38 Tf 1e38 1e38 Td (a) Tj 99999999999999999999 0 Td (b) Tj ET"),
        "huge-box.pdf": GOOD.replace(b"/MediaBox [ 0 0 612 792 ]", b"/MediaBox [ 0 0 9e9 9e9 ]"),
        "no-box.pdf": GOOD.replace(b"/MediaBox", b"/MediaBux"),
        "negative-box.pdf": GOOD.replace(b"/MediaBox [ 0 0 612 792 ]", b"/MediaBox [ 9 9 -9 -99 ]"),
        "header-only.pdf": b"%PDF-1.7\n%%EOF",
    }  # fmt: skip


def _pages() -> dict[str, bytes]:
    """HTML."""
    row = b"<tr>" + b"<td colspan=1000>5</td>" * 100 + b"</tr>"
    laughs = b"<!DOCTYPE html [<!ENTITY a 'aaaa'>" + b"".join(
        b"<!ENTITY a%d '%s'>" % (number, b"&a%d;" % (number - 1) * 10 if number else b"&a;") for number in range(12)
    )
    return {
        "deep-divs.html": b"<html>" + b"<div>" * 300_000 + b"x",
        "deep-tables.html": b"<html>" + b"<table><tr><td>" * 100_000 + b"5",
        "deep-bold.html": b"<html>" + b"<p><b><i>" * 100_000 + b"x",
        "wide-table.html": b"<html><table>" + row * 100 + b"</table>",
        "tall-table.html": b"<html><table>" + b"<tr><td rowspan=99999>a<td rowspan=99999>5</tr>" * 5_000,
        "huge-span.html": b"<html><table><tr><td colspan=999999999999999999999>a<td rowspan=-5>5<tr><td>b<td>6</table>",
        "script-only.html": b"<html><body><script>while(true){}</script></body></html>",
        "hidden-only.html": b"<html><body><ix:header>secret</ix:header><p style='display:none'>x</p></body></html>",
        "refresh.html": b"<html><meta http-equiv=refresh content='0;url=file:///etc/passwd'><iframe src=file:///etc/passwd>",
        "laughs.html": laughs + b"]><html><body>&a11;</body></html>",
        "entities.html": b"<html><body>" + b"&#99999999999;&notanentity;&#0;" * 1_000,
        "open-tags.html": b"<html>" + b"<p <p <p" * 50_000,
        "attributes.html": b"<html><body><p " + b"a=b " * 50_000 + b">x</p>",
        "comment.html": b"<html><!--" + b"-" * 1_000_000,
        "zeros.html": b"<html>\0\0\0\0",
        "encoding.html": b"<html><meta charset=utf-99><p>caf\xe9</p>",
        "utf-7.html": b"<html><meta charset=utf-7><p>+ADw-script+AD4-</p>",
        "breaks.html": b"<html>" + b"<p style='page-break-after:always'>x</p>" * 3_500,
    }


def _others() -> dict[str, bytes]:
    """Text, and what is neither."""
    return {
        "zip.pdf": b"PK\x03\x04" + b"\0" * 100,
        "gzip.txt": b"\x1f\x8b\x08" + b"\0" * 100,
        "empty.txt": b"",
        "spaces.txt": b" \n" * 100_000,
        "zeros.txt": b"\0" * 1_000_000,
        "bytes.txt": bytes(range(256)) * 100,
        "feeds.txt": b"a\f" * 100_000,
        "bars.md": b"|" * 2_000_000,
        "rows.md": b"| a | 5 |\n" * 10_000,
        "headings.md": b"# a\n" * 10_000,
        "half-utf-16.txt": b"\xff\xfea",
        "image.pdf": b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
        "long-line.txt": b"word " * 200_000,
    }
