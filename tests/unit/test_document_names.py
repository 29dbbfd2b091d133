"""Documents are found by what questions call them, and never by chance."""

import pytest

from rlaif.documents.names import DocumentNames, document_name

PATHS = ["3M_2018_10K.pdf", "2018/AMCOR_10K.htm", "2019/AMCOR_10K.htm", "notes/v1.2", "My Filing.PDF"]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("3M_2018_10K", "3M_2018_10K.pdf"),
        ("3m_2018_10k.pdf", "3M_2018_10K.pdf"),
        ("./3M_2018_10K.pdf", "3M_2018_10K.pdf"),
        ("https://example.com/sec/3M_2018_10K.pdf?download=1#page=5", "3M_2018_10K.pdf"),
        ("https://example.com/My%20Filing.pdf", "My Filing.PDF"),
        ("2019/AMCOR_10K", "2019/AMCOR_10K.htm"),
        ("2019\\AMCOR_10K.htm", "2019/AMCOR_10K.htm"),
        ("AMCOR_10K", None),
        ("v1.2", "notes/v1.2"),
        ("10K", None),
        ("", None),
    ],
)
def test_a_name_finds_its_document(name: str, path: str | None) -> None:
    assert DocumentNames(PATHS).find(name) == path
    assert DocumentNames(reversed(PATHS)).find(name) == path


def test_a_name_is_the_last_part_without_its_ending() -> None:
    assert document_name("a/b/Annual Report 2.0.html") == "Annual Report 2.0"
    assert document_name("https://x.com/static-files/bcd1012b") == "bcd1012b"
    assert document_name("https://x.com/") == "/"
