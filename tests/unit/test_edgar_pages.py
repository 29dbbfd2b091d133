"""Pages of EDGAR as vendors of filings write them: every figure keeps its label, heads, unit, period and page."""

from tests.unit.test_html_documents import read, tables, texts


def tagged(figure: str) -> str:
    """Return a figure as inline XBRL has it, within styled spans."""
    return (
        '<span style="font-size:9pt"><ix:nonFraction contextRef="c-1" name="us-gaap:X" scale="6" format="ixt:num">'
        f"{figure}</ix:nonFraction></span>"
    )


def workiva_row(label: str, *figures: str, sign: str = "") -> str:
    """Return a row whose figures are in three columns each: sign, figure, bracket, with a spacer between."""
    cells = f'<td colspan="3" style="padding:2px 1pt"><span>{label}</span></td>'
    for figure in figures:
        cells += '<td colspan="3" style="padding:0 1pt"></td>'
        shown = f"({tagged(figure.strip('()'))}" if figure.startswith("(") else tagged(figure)
        cells += f'<td style="border-top:1pt">{sign}</td>' if sign else ""
        cells += f'<td colspan="{1 if sign else 2}">{shown}</td><td>{")" if figure.endswith(")") else ""}</td>'
    return f"<tr>{cells}</tr>"


def workiva_heads(*heads: tuple[str, int]) -> str:
    cells = "".join(f'<td colspan="3"></td><td colspan="{3 * n + 3 * (n - 1)}">{head}</td>' for head, n in heads)
    return f'<tr><td colspan="3">(In millions)</td>{cells}</tr>'


WORKIVA = (
    '<div style="display:none"><ix:header><ix:hidden><ix:nonNumeric>0000123</ix:nonNumeric></ix:hidden>'
    "</ix:header></div>"
    '<div><span style="font-weight:700">CONDENSED CONSOLIDATED STATEMENTS OF OPERATIONS (Unaudited)</span></div><table>'
    + '<tr><td style="width:1.0%"></td><td style="width:44%"></td></tr>'
    + workiva_heads(("Three Months Ended<br/>June 30,", 2), ("Six Months Ended<br/>June 30,", 2))
    + workiva_heads(*((str(year), 1) for year in (2023, 2022) * 2))
    + workiva_row("Net sales", "5,120", "4,800", "9,900", "9,100", sign="$")
    + '<tr style="display:none"><td colspan="3">Hidden</td><td colspan="3"></td><td>$</td><td>7</td></tr>'
    + workiva_row("Other (expense) income", "(30)", "—", "(61)", "4")
    + '</table><div>4</div><hr style="page-break-after:always"/><table>'
    + workiva_row("Net income", "12", "11", "10", "9", sign="$")
    + "</table><div>See <ix:continuation>accompanying</ix:continuation> notes.</div>"
)
PERIODS = tuple(f"{months} Months Ended June 30, {year}" for months in ("Three", "Six") for year in ("2023", "2022"))


def test_inline_xbrl_of_workiva_and_a_table_that_goes_on_on_the_next_page() -> None:
    made = read(WORKIVA)
    first, second = tables(made)
    assert first.heads == second.heads == PERIODS
    assert first.unit == second.unit == "(In millions)"
    assert first.title == second.title == "CONDENSED CONSOLIDATED STATEMENTS OF OPERATIONS (Unaudited)"
    assert [(row.label, row.cells) for row in first.rows] == [
        ("Net sales", ("$5,120", "$4,800", "$9,900", "$9,100")),
        ("Other (expense) income", ("(30)", "—", "(61)", "4")),
    ]
    assert [(row.label, row.cells) for row in second.rows] == [("Net income", ("$12", "$11", "$10", "$9"))]
    assert [page.number for page in made.pages] == [1, 2]
    assert texts(made)[-1] == "See accompanying notes."


def test_unit_above_or_below_unaudited_and_a_table_in_two_parts() -> None:
    rows = "<tr><td>{}</td><td>5</td><td>4</td></tr>"
    made = read(
        "<p><b>CASH FLOWS</b></p><p>(in thousands)</p><p>(unaudited)</p><table>"
        "<tr><td></td><td>2023</td><td>2022</td></tr>" + rows.format("Net income") + "</table>"
        "<table><tr><td>Supplemental information:</td></tr>" + rows.format("Cash paid for interest") + "</table>"
    )
    assert [(table.unit, table.heads) for table in tables(made)] == [("(in thousands)", ("2023", "2022"))] * 2
    assert [row.label for row in tables(made)[1].rows] == ["Supplemental information:", "Cash paid for interest"]


def test_a_second_period_left_of_the_years_is_of_the_rows_below_it() -> None:
    years = "<tr><td>For {} Months Ended June 30,</td><td>2023</td><td>2022</td></tr>"
    rows = "<tr><td>Service cost</td><td>$2</td><td>$4</td></tr><tr><td>Interest cost</td><td>7</td><td>6</td></tr>"
    first, second = tables(read(f"<table>{years.format('Three')}{rows}{years.format('Six')}{rows}</table>"))
    assert first.heads == ("For Three Months Ended June 30, 2023", "For Three Months Ended June 30, 2022")
    assert second.heads == ("For Six Months Ended June 30, 2023", "For Six Months Ended June 30, 2022")
    assert len(first.rows) == len(second.rows) == 2


def test_years_over_the_first_of_two_columns_are_over_both() -> None:
    (table,) = tables(read(
        "<table><tr><td></td><td>2023</td><td></td><td>2022</td><td></td></tr>"
        "<tr><td>(dollars in millions)</td><td>Shares</td><td>Amount</td><td>Shares</td><td>Amount</td></tr>"
        "<tr><td>Balance</td><td>4,291</td><td>$429</td><td>4,290</td><td>$428</td></tr></table>"
    ))  # fmt: skip
    assert table.heads == ("2023 Shares", "2023 Amount", "2022 Shares", "2022 Amount")
    assert table.unit == "(dollars in millions)"


def test_hidden_parts_of_cells_and_zero_width_spaces_of_other_vendors() -> None:
    spacer = "<td>​</td>"
    (table,) = tables(read(
        f"<table><tr>{spacer * 3}<td>2023</td>{spacer * 2}<td>2022</td></tr>"
        f"<tr><td>Data center hosting</td>{spacer}<td>$</td><td>1,394<span style='display:none'>9</span></td>{spacer}"
        "<td>$</td><td>2,362</td></tr></table>"
    ))  # fmt: skip
    assert (table.heads, table.rows[0].cells) == (("2023", "2022"), ("$1,394", "$2,362"))
