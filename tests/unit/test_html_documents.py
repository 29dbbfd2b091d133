"""HTML as EDGAR writes it: hidden parts are left out, and figures keep all of their heads."""

from rlaif.documents.document import Document, Table, Text
from rlaif.documents.reading import read_document


def read(body: str) -> Document:
    return read_document(
        f"<!DOCTYPE html><html><head><title>x</title></head><body>{body}</body></html>".encode(), "made"
    )


def tables(document: Document) -> list[Table]:
    return [block for page in document.pages for block in page.blocks if isinstance(block, Table)]


def texts(document: Document) -> list[str]:
    return [block.text for page in document.pages for block in page.blocks if isinstance(block, Text)]


def edgar_row(label: str, figures: list[str], sign: str = "") -> str:
    """Return a row with a spacer, a sign, a figure and a closing bracket in cells of their own for each figure."""
    cells = f"<td>{label}</td>"
    for figure in figures:
        bare = figure.strip("()%")
        opened, closed = "(" * figure.startswith("("), figure[figure.index(bare) + len(bare) :]
        cells += f"<td>&#160;</td><td>{sign or '&#160;'}</td>"
        cells += (
            f'<td>{opened}<ix:nonFraction name="us-gaap:X">{bare}</ix:nonFraction></td><td>{closed or "&#160;"}</td>'
        )
    return f"<tr>{cells}</tr>"


EDGAR = (
    '<ix:header style="display:none"><ix:hidden>0001403568</ix:hidden></ix:header>'
    "<p><span style='font-weight:700'>CONSOLIDATED STATEMENTS</span></p><p>(In thousands)</p><table>"
    "<tr><td></td><td colspan=8>13 Weeks Ended</td><td colspan=8>52 Weeks Ended</td></tr>"
    "<tr><td></td>"
    + "".join(f"<td></td><td colspan=3>January 28,<br>{year}</td>" for year in (2023, 2022) * 2)
    + "</tr>"
    + edgar_row("Net sales", ["3,226.8", "2,729.4", "10,208.6", "8,630.9"], "$")
    + edgar_row("Change", ["(4.8)%", "—", "15.6%", "(17.9)%"])
    + "</table><p>(1) Restated.</p><p>Sales rose.</p>"
)


def test_a_table_of_edgar() -> None:
    made = read(EDGAR)
    (table,) = tables(made)
    assert table.heads == tuple(
        f"{weeks} Weeks Ended January 28, {year}" for weeks in (13, 52) for year in (2023, 2022)
    )
    assert [(row.label, row.cells) for row in table.rows] == [
        ("Net sales", ("$3,226.8", "$2,729.4", "$10,208.6", "$8,630.9")),
        ("Change", ("(4.8)%", "—", "15.6%", "(17.9)%")),
    ]
    assert (table.title, table.unit) == ("CONSOLIDATED STATEMENTS", "(In thousands)")
    assert table.notes == ("(1) Restated.",)
    assert texts(made) == ["CONSOLIDATED STATEMENTS", "Sales rose."]


def test_a_label_of_several_rows_is_repeated() -> None:
    (table,) = tables(read(
        "<table><tr><th></th><th></th><th>2023</th></tr><tr><td rowspan=2>Europe</td><td>Sales</td><td>5</td></tr>"
        "<tr><td>Costs</td><td>4</td></tr><tr><td>Asia</td><td>Sales</td><td>3</td></tr></table>"
    ))  # fmt: skip
    assert [(row.label, row.cells) for row in table.rows] == [
        ("Europe Sales", ("5",)), ("Europe Costs", ("4",)), ("Asia Sales", ("3",)),
    ]  # fmt: skip
    assert table.heads == ("2023",)


def test_pages_end_where_the_style_says_so_and_their_numbers_are_left_out() -> None:
    made = read(
        "<p>First.</p><p>2</p><hr style='page-break-after:always'><p>Second.</p><div style='page-break-before:always'>"
        "Third.</div>"
    )
    assert [page.number for page in made.pages] == [1, 2, 3]
    assert texts(made) == ["First.", "Second.", "Third."]


def test_contents_and_layout_are_no_tables() -> None:
    row = "<tr><td>Item {}.</td><td>Risk factors</td><td>{}</td></tr>"
    contents = "".join(row.format(number, 5 * number) for number in range(1, 6))
    bullets = "<table><tr><td>•</td><td>We sell 5 of them.</td></tr></table>"
    made = read(f"<table>{contents}</table>{bullets}")
    assert tables(made) == []
    assert texts(made) == [*(f"Item {n}. Risk factors {5 * n}" for n in range(1, 6)), "• We sell 5 of them."]


def test_scripts_styles_and_hidden_text_are_left_out() -> None:
    made = read(
        "<script>alert(1)</script><style>p{}</style><p>Seen.</p><p style='display: none'>No.</p><p hidden>No.</p>"
    )
    assert texts(made) == ["Seen."]
