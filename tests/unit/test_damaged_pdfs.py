"""Damage within a PDF that keeps its end: a changed byte of a compressed page is refused, never read in part."""

import random
import zlib

import pytest

from rlaif.documents.reading import read_document
from rlaif.errors import UserError
from tests.made_pdf import TEXT, drawn, lines, one_page

PAGES = [lines(*(f"Net sales of segment {number} were {number * page},204 million." for number in range(1, 40)))
         for page in range(1, 4)]  # fmt: skip


@pytest.mark.parametrize("ascii85", [True, False])
def test_a_changed_byte_of_a_compressed_page_is_refused(ascii85: bool) -> None:
    if ascii85:
        good = drawn(*PAGES, pageCompression=1)
        # The middle of the second page's content.
        start = good.index(b"stream\n", good.index(b"stream\n", good.index(b"stream\n") + 20) + 20) + 10
        end = good.index(b"~>", start)
    else:
        content = b" ".join([TEXT] * 50)
        packed = zlib.compress(content)
        good = one_page(packed, b"/Filter /FlateDecode")
        start = good.index(packed) + 2
        end = start + len(packed) - 4
    assert len(read_document(good, "good").pages) == (3 if ascii85 else 1)
    for seed in range(10):
        draw = random.Random(seed)
        place = draw.randrange(start, end)
        changed = bytes([(good[place] + 1 - 33) % 80 + 33 if ascii85 else good[place] ^ 0x10])
        with pytest.raises(UserError, match="is damaged: the content of a page"):
            read_document(good[:place] + changed + good[place + 1 :], "damaged")


@pytest.mark.parametrize("spaces", [0, 1 << 20, 3_145_729])
def test_a_stream_without_its_checksum_is_whole(spaces: int) -> None:
    packed = zlib.compress(TEXT + b" " * spaces)[:-4]
    made = read_document(one_page(packed, b"/Filter [ /FlateDecode ]"), "made")
    assert "Net sales were 5 million." in str(made.pages[0].blocks)


def test_a_stream_that_ends_early_is_refused() -> None:
    packed = zlib.compress(b" ".join([TEXT] * 50))
    with pytest.raises(UserError, match="is damaged"):
        read_document(one_page(packed[: len(packed) // 2], b"/Filter /FlateDecode"), "made")
