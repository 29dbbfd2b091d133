"""Tables of PDFs as browsers and filers' tools print them: rules below single cells, heads at the right of figures."""

from collections.abc import Sequence

from rlaif.documents.document import Text
from rlaif.documents.reading import read_document
from tests.made_pdf import drawn, lines
from tests.unit.test_made_tables import FIGURES, LABELS, Draw, heads, only_table, page, rows, rule, tables

CELLS = ((260.0, 320.0), (327.0, 387.0), (394.0, 454.0), (461.0, 521.0))
"""Left and right of each cell; figures end left of its right edge, and heads are in its middle."""
ENDS = tuple(right - 3 for _, right in CELLS)
MIDDLES = tuple((left + right) / 2 for left, right in CELLS)
PAIRS = ((MIDDLES[0] + MIDDLES[1]) / 2, (MIDDLES[2] + MIDDLES[3]) / 2)


def rules(y: float, cells: Sequence[int] = range(4)) -> list[Draw]:
    return [rule(*CELLS[number], y) for number in cells]


def test_rules_below_each_cell_of_a_head_that_spans_two() -> None:
    table = only_table(
        heads((PAIRS[0], "Three Months Ended"), (PAIRS[1], "Six Months Ended"), y=660),
        heads((PAIRS[0], "June 30,"), (PAIRS[1], "June 30,"), y=650), *rules(646),
        heads(*zip(MIDDLES, ("2023", "2022") * 2, strict=True), y=637), *rules(633),
        rows(LABELS, FIGURES, ENDS, top=620),
    )  # fmt: skip
    assert table.heads == tuple(f"{n} Months Ended June 30, {year}" for n in ("Three", "Six") for year in (2023, 2022))
    assert [row.cells for row in table.rows] == list(FIGURES)


def test_rules_only_below_the_columns_of_the_head() -> None:
    middle = (CELLS[0][0] + CELLS[2][1]) / 2
    table = only_table(
        heads((middle, "Fair value measured using"), y=660), *rules(656, range(3)),
        heads(*zip(MIDDLES, ("Level 1", "Level 2", "Level 3", "Total"), strict=True), y=646), *rules(642),
        rows(LABELS, FIGURES, ENDS, top=628),
    )  # fmt: skip
    assert table.heads == (*(f"Fair value measured using Level {n}" for n in (1, 2, 3)), "Total")


def test_a_head_of_two_lines_beside_one_of_one_line() -> None:
    table = only_table(
        heads((PAIRS[0], "2023"), (PAIRS[1], "2022"), y=662), *rules(658),
        heads((MIDDLES[1], "% of Net"), (MIDDLES[3], "% of Net"), y=647),
        heads(*zip(MIDDLES, ("Amount", "Revenue") * 2, strict=True), y=637), *rules(634),
        rows(("Revenue", "Cost of sales"), (("$10", "100.0 %", "$8", "100.0 %"), ("4", "40.0 %", "3", "37.5 %")), ENDS,
             top=620),
    )  # fmt: skip
    assert table.heads == ("2023 Amount", "2023 % of Net Revenue", "2022 Amount", "2022 % of Net Revenue")
    assert table.rows[1].cells == ("4", "40.0%", "3", "37.5%")


def test_periods_that_end_where_the_figures_do() -> None:
    table = only_table(
        rows(("",), (("", "Three Months Ended", "", "Six Months Ended"),), ENDS, top=660),
        rows(("(In millions)",), (("2023", "2022", "2023", "2022"),), ENDS, top=648),
        rows(LABELS, FIGURES, ENDS, top=630),
    )
    assert table.heads == tuple(f"{n} Months Ended {year}" for n in ("Three", "Six") for year in (2023, 2022))
    assert table.unit == "(In millions)"


def test_long_labels_do_not_end_a_table() -> None:
    label = "Depreciation of property and equipment, capitalized content costs, operating lease assets and"
    table = only_table(
        heads((510, "2023"), (560, "2022"), y=660), lines("Net income", x=60, top=640),
        rows(("", "", ""), (("12", "11"), ("", ""), ("", "")), (520, 570), top=640),
        lines(label, x=60, top=628), lines("other", x=60, top=618), rows(("",), (("5", "4"),), (520, 570), top=618),
        rows(("Stock-based compensation",), (("3", "2"),), (520, 570), top=606),
        rows(("Other",), (("1", "1"),), (520, 570), top=594),
    )  # fmt: skip
    assert [(row.label, row.cells) for row in table.rows] == [
        ("Net income", ("12", "11")), (f"{label} other", ("5", "4")), ("Stock-based compensation", ("3", "2")),
        ("Other", ("1", "1")),
    ]  # fmt: skip
    assert table.heads == ("2023", "2022")


def test_a_label_that_wraps_is_told_from_a_section_by_its_step() -> None:
    table = only_table(
        heads((385, "2023"), (465, "2022"), y=660),
        rows(("Cash", "Notes", "Loans"), (("1", "2"), ("3", "4"), ("5", "6")), (400, 480), top=640, step=15),
        lines("Debt securities issued by the U.S.", x=60, top=595),
        rows(("Treasury",), (("7", "8"),), (400, 480), top=586),
        lines("Liabilities", x=60, top=571), rows(("Accounts payable",), (("9", "10"),), (400, 480), top=556),
    )  # fmt: skip
    assert [row.label for row in table.rows][3:] == [
        "Debt securities issued by the U.S. Treasury", "Liabilities", "Accounts payable",
    ]  # fmt: skip


def test_a_table_of_one_row_and_a_title_with_its_unit() -> None:
    table = only_table(
        lines("Expected vesting of stock units is as follows (in millions):", x=60, top=690),
        heads((300, "2024"), (370, "2025"), (440, "Thereafter"), y=660),
        rows(("Stock units",), (("70.7", "224.5", "3.3"),), (312, 382, 452), top=645),
    )  # fmt: skip
    assert (table.heads, table.unit) == (("2024", "2025", "Thereafter"), "(in millions)")
    assert table.title == "Expected vesting of stock units is as follows (in millions):"
    assert table.rows[0].cells == ("70.7", "224.5", "3.3")


def test_a_name_and_a_unit_on_one_line_above_the_rows() -> None:
    table = only_table(
        heads((385, "July 30,"), (465, "January 29,"), y=670), heads((385, "2023"), (465, "2022"), y=658),
        lines("Other assets:", x=60, top=645), heads((425, "(In millions)"), y=645),
        rows(LABELS, (("5", "4"), ("3", "2"), ("2", "2")), (400, 480), top=632),
    )  # fmt: skip
    assert table.heads == ("July 30, 2023", "January 29, 2022")
    assert (table.title, table.unit) == ("Other assets:", "(In millions)")


def test_a_period_at_the_top_of_each_page_is_a_head() -> None:
    pages = [
        page(
            heads((425, "Quarter Ended"), y=772), rule(370, 480, 769), heads((385, "2023"), (465, "2022"), y=758),
            rows(LABELS, ((f"{number}", "4"), ("3", "2"), ("2", "2")), (400, 480), top=744),
        )
        for number in range(1, 6)
    ]  # fmt: skip
    found = tables(read_document(drawn(*pages), "made"))
    assert [table.heads for table in found] == [("Quarter Ended 2023", "Quarter Ended 2022")] * 5


def test_the_end_of_a_paragraph_is_no_title() -> None:
    made = read_document(drawn(page(
        lines("The table shows sales by kind, which have been reported since the segment was bought from others,",
              "as a share of all sales.", x=60, top=700, step=12),
        heads((385, "2023"), (465, "2022"), y=660),
        rows(LABELS, (("5", "4"), ("3", "2"), ("2", "2")), (400, 480), top=645),
    )), "made")  # fmt: skip
    (table,) = tables(made)
    assert table.title == ""
    texts = [block.text for block in made.pages[0].blocks if isinstance(block, Text)]
    assert any(text.endswith("as a share of all sales.") for text in texts)


def test_two_tables_side_by_side_are_two() -> None:
    made = read_document(drawn(page(
        heads((215, "2023"), (265, "2022"), (495, "2023"), (545, "2022"), y=660),
        rows(("Cash", "Receivables", "Inventories", "Total"),
             (("$1", "$2"), ("3", "4"), ("5", "6"), ("9", "12")), (225, 275), top=645),
        lines("Accounts payable", "Accrued wages", "Deferred revenue", "Total liabilities", x=320, top=645, step=13),
        rows(("",) * 4, (("$7", "$8"), ("6", "5"), ("4", "3"), ("17", "16")), (505, 555), top=645),
    )), "made")  # fmt: skip
    left, right = tables(made)
    assert left.heads == right.heads == ("2023", "2022")
    assert [row.label for row in left.rows] == ["Cash", "Receivables", "Inventories", "Total"]
    assert [(row.label, row.cells) for row in right.rows][1:3] == [
        ("Accrued wages", ("6", "5")), ("Deferred revenue", ("4", "3")),
    ]  # fmt: skip


def test_words_between_figures_are_cells_and_no_second_table() -> None:
    made = read_document(drawn(page(
        heads((240, "2023"), (340, "Level"), (465, "2022"), y=660),
        rows(("Funds", "Notes", "Bonds", "Paper"),
             (("1", "2"), ("3", "4"), ("5", "6"), ("7", "8")), (250, 475), top=645),
        lines("Level 1", "Level 2", "Level 1", "Level 2", x=320, top=645, step=13),
    )), "made")  # fmt: skip
    (table,) = tables(made)
    assert len(table.rows) == 4
    assert "2022" in " ".join(table.heads)


def test_three_narrow_columns_of_text() -> None:
    columns = [[f"column {place} has line {number:02} here" for number in range(8)] for place in range(3)]
    drawing = (lines(*column, x=60 + 175 * place, step=12) for place, column in enumerate(columns))
    made = read_document(drawn(page(*drawing)), "made")
    shown = " ".join(block.text for block in made.pages[0].blocks if isinstance(block, Text))
    assert shown == " ".join(text for column in columns for text in column)


def test_rows_of_a_table_of_words_stay_rows() -> None:
    names = ("Ann Lee of Boston", "Bo Xu", "Catherine Montgomery-Smythe", "Di Wu", "Eve Ito")
    offices = ("Chief Executive Officer and Director", "Director of it", "Treasurer and Secretary", "General Counsel",
               "Vice President of Investor Relations")  # fmt: skip
    made = read_document(drawn(page(lines(*names, x=60, step=14), lines(*offices, x=330, step=14))), "made")
    shown = " ".join(block.text for block in made.pages[0].blocks if isinstance(block, Text))
    assert all(f"{name} {office}" in shown for name, office in zip(names, offices, strict=True))
