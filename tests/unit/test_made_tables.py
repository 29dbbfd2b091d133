"""The kinds of tables that filings have, in PDFs made here: every figure keeps all of its heads."""

from collections.abc import Callable, Sequence

import pytest
from reportlab.pdfgen.canvas import Canvas

from rlaif.documents.chunks import chunks_of
from rlaif.documents.document import Document, Table, Text
from rlaif.documents.reading import read_document
from tests.made_pdf import drawn, lines

Draw = Callable[[Canvas], None]


def rows(
    labels: Sequence[str], figures: Sequence[Sequence[str]], rights: Sequence[float], *, top: float, step: float = 13
) -> Draw:
    """Return what draws rows whose figures end at the given places."""

    def draw(canvas: Canvas) -> None:
        for number, (label, cells) in enumerate(zip(labels, figures, strict=True)):
            y = top - number * step
            canvas.drawString(60 + 10 * (len(label) - len(label.lstrip())), y, label.strip())
            for right, cell in zip(rights, cells, strict=True):
                canvas.drawRightString(right, y, cell)

    return draw


def heads(*places: tuple[float, str], y: float) -> Draw:
    """Return what draws heads around their middles."""

    def draw(canvas: Canvas) -> None:
        for middle, text in places:
            canvas.drawCentredString(middle, y, text)

    return draw


def rule(x0: float, x1: float, y: float) -> Draw:
    return lambda canvas: canvas.line(x0, y, x1, y)


def page(*parts: Draw) -> Draw:
    def draw(canvas: Canvas) -> None:
        for part in parts:
            part(canvas)

    return draw


def tables(document: Document) -> list[Table]:
    return [block for page in document.pages for block in page.blocks if isinstance(block, Table)]


def only_table(*parts: Draw) -> Table:
    (table,) = tables(read_document(drawn(page(*parts)), "made"))
    return table


LABELS = ("Net sales", "Cost of sales", "Gross profit")
RIGHTS = (300.0, 370.0, 460.0, 530.0)
FIGURES = (
    ("$5,120", "$4,800", "$9,900", "$9,100"),
    ("(3,000)", "(2,900)", "(6,100)", "—"),
    ("41%", "39%", "38%", "37%"),
)
SPANNED = tuple(f"{months} months ended June 30, {year}" for months in ("Three", "Six") for year in ("2023", "2022"))


@pytest.mark.parametrize("ruled", [True, False])
@pytest.mark.parametrize("two_lines", [True, False])
def test_heads_that_span_columns(ruled: bool, two_lines: bool) -> None:
    middles = [right - 15 for right in RIGHTS]
    above = [(322.0, "Three months ended June 30,"), (482.0, "Six months ended June 30,")]
    top = [heads(*above, y=640)]
    if two_lines:
        top = [
            heads((322, "Three months"), (482, "Six months"), y=652),
            heads((322, "ended June 30,"), (482, "ended June 30,"), y=641),
        ]
    rules = [rule(260, 375, 637), rule(420, 535, 637)] if ruled else []
    years = heads(*zip(middles, ("2023", "2022") * 2, strict=True), y=626)
    table = only_table(
        lines("CONSOLIDATED RESULTS", "(in millions)", x=250, top=690), *top, *rules, years,
        rows(LABELS, FIGURES, RIGHTS, top=610),
    )  # fmt: skip
    assert table.heads == SPANNED
    assert [row.cells for row in table.rows] == list(FIGURES)
    assert [row.label for row in table.rows] == list(LABELS)
    assert (table.title, table.unit) == ("CONSOLIDATED RESULTS", "(in millions)")


def test_a_head_over_all_columns_and_heads_of_several_lines() -> None:
    table = only_table(
        heads((380, "Year ended December 31,"), y=660), rule(270, 490, 657),
        heads((380, "Increase"), y=645),
        heads((300, "2023"), (380, "(decrease)"), (460, "2022"), y=633),
        rows(LABELS, (("5", "1", "4"), ("3", "1", "2"), ("2", "—", "2")), (306, 386, 466), top=618),
    )  # fmt: skip
    assert table.heads[0] == "Year ended December 31, 2023"
    assert table.heads[2] == "Year ended December 31, 2022"
    assert table.heads[1] == "Year ended December 31, Increase (decrease)"


def test_sections_labels_of_two_lines_and_signs_apart() -> None:
    table = only_table(
        heads((400, "2023"), (480, "2022"), y=660),
        lines("Assets:", x=60, top=645),
        rows(("Cash",), (("12", "11"),), (415, 495), top=632),
        lines("$", x=370, top=632), lines("$", x=450, top=632),
        lines("Property, plant and equipment, net of accumulated", x=60, top=619),
        rows(("depreciation and amortization",), (("5", "4"),), (415, 495), top=607),
        rows(("Total",), (("17", "15"),), (415, 495), top=594),
        lines("$", x=370, top=594), lines("$", x=450, top=594),
    )  # fmt: skip
    assert [(row.label, row.cells) for row in table.rows] == [
        ("Assets:", ("", "")),
        ("Cash", ("$12", "$11")),
        ("Property, plant and equipment, net of accumulated depreciation and amortization", ("5", "4")),
        ("Total", ("$17", "$15")),
    ]
    assert table.heads == ("2023", "2022")


def test_a_table_over_two_pages_keeps_its_heads() -> None:
    many = [f"Asset {number}" for number in range(40)]
    figures = [(f"{number},000", f"({number})") for number in range(40)]
    first = page(
        lines("Assets by kind", "(in thousands)", x=270, top=750, step=12),
        heads((385, "2023"), (465, "2022"), y=715), rows(many, figures, (400, 480), top=700, step=15),
    )  # fmt: skip
    second = page(rows(many[:20], figures[:20], (400, 480), top=740), heads((306, "2"), y=30))
    made = read_document(drawn(first, second), "made")
    above, below = tables(made)
    assert below.heads == above.heads == ("2023", "2022")
    assert (below.title, below.unit) == (above.title, above.unit) == ("Assets by kind", "(in thousands)")
    assert len(above.rows) == 40
    assert len(below.rows) == 20
    chunks = chunks_of(made)
    assert all("(in thousands)" in chunk.text for chunk in chunks)
    assert any("Asset 19 | 2023: 19,000 | 2022: (19)" in chunk.text for chunk in chunks if chunk.page == 2)


def test_footnotes_are_the_tables_and_their_marks_change_no_figure() -> None:
    def mark(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 6)
        canvas.drawString(400.5, 639, "1")
        canvas.setFont("Helvetica", 10)

    table = only_table(
        heads((385, "2023"), (465, "2022"), y=650),
        rows(("Sales (1)", "Costs"), (("1,204", "1,100"), ("5", "4")), (400, 480), top=636), mark,
        lines("(1) Without the segment that was sold in 2021.", "(2) Restated.", x=60, top=595),
    )  # fmt: skip
    assert table.rows[0].label == "Sales (1)"
    assert table.rows[0].cells == ("1,204 (1)", "1,100")
    assert table.notes == ("(1) Without the segment that was sold in 2021.", "(2) Restated.")


def test_contents_lists_and_page_numbers_are_no_tables() -> None:
    names = ("Item 1. Business", "Item 1A. Risk factors", "Item 7. Discussion", "Item 8. Statements")
    contents = page(
        lines("Table of contents", x=260, top=720), rows(names, [("3",), ("11",), ("27",), ("40",)], (540,), top=690),
        heads((306, "2"), y=30),
    )  # fmt: skip
    dotted = page(
        lines(*(f"{name} {'.' * (90 - len(name))} {number}" for number, name in enumerate(names, 5)), top=700)
    )
    listed = page(lines("1. We sell.", "2. We buy 5 of them.", "(3) We keep 2023 in mind.", top=700))
    made = read_document(drawn(contents, dotted, listed), "made")
    assert tables(made) == []
    shown = " ".join(block.text for page in made.pages for block in page.blocks if isinstance(block, Text))
    assert all(name in shown for name in names)
    assert not shown.endswith(" 2")


def test_two_columns_are_read_one_after_the_other() -> None:
    left = [f"the left column of text, line {number} of twelve" for number in range(12)]
    right = [f"the right column of text, line {number} of twelve" for number in range(12)]
    made = read_document(drawn(page(lines(*left, x=60, step=12), lines(*right, x=330, step=12))), "made")
    shown = " ".join(block.text for block in made.pages[0].blocks if isinstance(block, Text))
    assert tables(made) == []
    assert shown == " ".join([*left, *right])


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_pages_that_are_turned(degrees: int) -> None:
    def draw(canvas: Canvas) -> None:
        # A page that is turned by a quarter is 792 points wide before.
        canvas.setPageRotation(degrees)
        canvas.translate(*{90: (792, 0), 180: (612, 792), 270: (0, 612)}[degrees])
        canvas.rotate(degrees)
        heads((385, "2023"), (465, "2022"), y=550)(canvas)
        rows(LABELS, (("5", "4"), ("3", "2"), ("2", "2")), (400, 480), top=530)(canvas)

    (table,) = tables(read_document(drawn(draw), "made"))
    assert table.heads == ("2023", "2022")
    assert [row.label for row in table.rows] == list(LABELS)


def test_running_heads_are_left_out() -> None:
    pages = [
        page(
            lines("ACME Corporation 2023 Form 10-K", x=60, top=765),
            lines(f"Words of page {number}, which are its own.", top=600), heads((306, f"F-{number}"), y=30),
        )
        for number in range(1, 6)
    ]  # fmt: skip
    made = read_document(drawn(*pages), "made")
    assert [block.text for page in made.pages for block in page.blocks if isinstance(block, Text)] == [
        f"Words of page {number}, which are its own." for number in range(1, 6)
    ]
    assert [page.number for page in made.pages] == [1, 2, 3, 4, 5]


def test_statements_that_begin_alike_on_each_page_keep_unit_and_years() -> None:
    pages = [
        page(
            lines("(in millions)", x=60, top=770), heads((385, "2023"), (465, "2022"), y=755),
            rows(LABELS, ((f"{number},204", "1,100"), ("5", "4"), ("2", "1")), (400, 480), top=741),
        )
        for number in range(1, 6)
    ]  # fmt: skip
    found = tables(read_document(drawn(*pages), "made"))
    assert [(table.unit, table.heads) for table in found] == [("(in millions)", ("2023", "2022"))] * 5
    assert [table.rows[0].cells[0] for table in found] == [f"{number},204" for number in range(1, 6)]
    assert all([row.label for row in table.rows] == list(LABELS) for table in found)
