"""Refuses a PDF with damage within it: what pdfium decodes of a damaged stream is a part of it, and it says nothing.

Invariant: each compressed stream of text, fonts' maps and objects is whole by its own checksum, or the file is refused.
"""

import base64
import re
import zlib

from rlaif.documents.faults import UnreadableError

_BEGINS = re.compile(rb">>\s{0,4}stream(?:\r\n|\n)")
_MOST_KEYS = 2048
"""Bytes before a stream in which its keys are."""
_OBJECT = re.compile(rb"\d\s+obj\b")
_FILTER = re.compile(rb"/Filter\s*(?:\[([^\]]*)\]|(/\w+))")
_LENGTH = re.compile(rb"/Length\s+(\d{1,10})(?!\s+\d+\s+R)\b")
_NO_TEXT = re.compile(
    rb"/Image\b|/Length[123]\b|/Type1C\b|/CIDFontType0C\b|/OpenType\b|/Alternate\b|/FunctionType\b|/XML\b"
)
"""Keys of images, fonts, colours and notes about the file, whose damage changes no text."""
_END = b"endstream"
_DAMAGED = "is damaged: the content of a page or of its fonts cannot be decoded"
_PART, _MOST = 1 << 20, 128 << 20
"""Bytes decoded at a time, and in all; a bomb is left to the limits of the process."""


def refuse_damaged(data: bytes) -> None:
    """Raise UnreadableError if a stream of a PDF is damaged; an encrypted file's cannot be told."""
    if b"/Encrypt" in data:
        return
    left = _MOST
    for begin in _BEGINS.finditer(data):
        keys = data[max(0, begin.start() - _MOST_KEYS) : begin.start()]
        starts = [found.end() for found in _OBJECT.finditer(keys)]
        keys = keys[starts[-1] :] if starts else keys
        filters = _FILTER.search(keys)
        names = (filters[1] or filters[2]).split() if filters is not None else []
        if names not in ([b"/FlateDecode"], [b"/ASCII85Decode", b"/FlateDecode"]) or _NO_TEXT.search(keys):
            continue
        content = _content(data, begin.end(), keys)
        left -= _inflated(_from_ascii85(content) if len(names) > 1 else content, left)
        if left <= 0:
            return


def _content(data: bytes, start: int, keys: bytes) -> bytes:
    """Return a stream's bytes: as many as it says if it ends there, else all up to its end."""
    length = _LENGTH.search(keys)
    if length is not None:
        end = start + int(length[1])
        if data[end : end + 16].lstrip().startswith(_END):
            return data[start:end]
    end = data.find(_END, start)
    if end < 0:
        raise UnreadableError(_DAMAGED)
    return data[start:end]


def _from_ascii85(content: bytes) -> bytes:
    text = content.strip().removeprefix(b"<~")
    try:
        return base64.a85decode(text.split(b"~>")[0])
    except ValueError:
        raise UnreadableError(_DAMAGED) from None


def _inflated(content: bytes, most: int) -> int:
    """Return how many bytes a stream holds, counted up to `most`; raises UnreadableError if it is damaged."""
    # Without its header and checksum, which some writers leave out.
    inflate = zlib.decompressobj(-15)
    size, checksum = 0, 1
    part = content[2:]
    try:
        while not inflate.eof and size < most:
            found = inflate.decompress(part, _PART)
            size, checksum = size + len(found), zlib.adler32(found, checksum)
            part = inflate.unconsumed_tail
            if not found and not part:
                break
    except zlib.error:
        raise UnreadableError(_DAMAGED) from None
    if size >= most:
        return size
    rest = inflate.unused_data[:4]
    if len(content) > 2 and (not inflate.eof or (len(rest) == 4 and int.from_bytes(rest) != checksum)):
        raise UnreadableError(_DAMAGED)
    return size
