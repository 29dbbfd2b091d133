"""Full submissions of EDGAR and filings of plain text, whose tables are set with spaces."""

import pytest

from rlaif.documents.document import Document, Table, Text
from rlaif.documents.limits import Limits
from rlaif.documents.reading import read_document
from rlaif.errors import UserError

STATEMENT = """
                                ACME CORPORATION
                        CONSOLIDATED STATEMENTS OF INCOME
                     (In thousands, except per share amounts)

<TABLE>
<CAPTION>
                                          Three Months Ended      Six Months Ended
                                               June 30,               June 30,
                                          ------------------     ------------------
                                            1998      1997         1998      1997
                                          --------  --------     --------  --------
<S>                                       <C>       <C>          <C>       <C>
Net sales ............................    $ 51,200  $ 48,000     $ 99,000  $ 91,000
Costs and expenses:
  Cost of sales ......................      30,000    29,000       61,000    58,100
  Selling, general and administrative
    expenses .........................       9,400     8,800       18,000    17,000
                                          --------  --------     --------  --------
Net income (loss) <F1>................    $ 11,800  $ 10,200     $ (4,000) $     --
                                          ========  ========     ========  ========
</TABLE>

(1) Without the segment that was sold.

                                        3
<PAGE>
                         PART II.  OTHER INFORMATION

ITEM 1.  LEGAL PROCEEDINGS

     The Company is a party to no proceeding that would be material to the
business.
"""
SUBMISSION = f"""<SEC-DOCUMENT>0000899681-98-000096.txt : 19980814
<SEC-HEADER>0000899681-98-000096.hdr.sgml : 19980814
CONFORMED SUBMISSION TYPE:	10-Q
</SEC-HEADER>
<DOCUMENT>
<TYPE>10-Q
<SEQUENCE>1
<DESCRIPTION>QUARTERLY REPORT
<TEXT>
{STATEMENT}</TEXT>
</DOCUMENT>
<DOCUMENT>
<TYPE>EX-99.1
<SEQUENCE>2
<FILENAME>ex99.htm
<DESCRIPTION>PRESS RELEASE
<TEXT>
<html><body><p>Sales rose.</p>
<table><tr><td></td><td>1998</td></tr><tr><td>Sales</td><td>$5</td></tr></table></body></html>
</TEXT>
</DOCUMENT>
<DOCUMENT>
<TYPE>GRAPHIC
<SEQUENCE>3
<TEXT>
begin 644 logo.jpg
M_]C_X  02D9)1@ ! 0
end
</TEXT>
</DOCUMENT>
</SEC-DOCUMENT>
"""
HEADS = tuple(f"{months} Months Ended June 30, {year}" for months in ("Three", "Six") for year in (1998, 1997))


def tables(made: Document) -> list[tuple[int, Table]]:
    return [(page.number, block) for page in made.pages for block in page.blocks if isinstance(block, Table)]


def check_statement(table: Table) -> None:
    assert table.heads == HEADS
    assert table.unit == "(In thousands, except per share amounts)"
    assert "CONSOLIDATED STATEMENTS OF INCOME" in table.title
    assert [(row.label, row.cells) for row in table.rows] == [
        ("Net sales", ("$51,200", "$48,000", "$99,000", "$91,000")),
        ("Costs and expenses:", ("", "", "", "")),
        ("Cost of sales", ("30,000", "29,000", "61,000", "58,100")),
        ("Selling, general and administrative expenses", ("9,400", "8,800", "18,000", "17,000")),
        ("Net income (loss) (1)", ("$11,800", "$10,200", "$(4,000)", "$--")),
    ]
    assert table.notes == ("(1) Without the segment that was sold.",)


def test_a_submission_with_an_exhibit_of_html_and_an_image() -> None:
    made = read_document(SUBMISSION.encode(), "made")
    (first, statement), (third, exhibit) = tables(made)
    check_statement(statement)
    assert (first, third) == (1, 3)
    assert [page.number for page in made.pages] == [1, 2, 3]
    assert (exhibit.heads, exhibit.rows[0].cells) == (("1998",), ("$5",))
    assert made.pages[2].blocks[0] == Text("EX-99.1 PRESS RELEASE", heading=True)
    shown = [block.text for page in made.pages for block in page.blocks if isinstance(block, Text)]
    assert not any("begin 644" in text or text == "3" or "SEC-HEADER" in text for text in shown)
    assert "The Company is a party to no proceeding that would be material to the business." in shown


def test_a_submission_that_is_cut_is_refused() -> None:
    with pytest.raises(UserError, match="is cut: a document in it does not end"):
        read_document(SUBMISSION[: SUBMISSION.index("</TEXT>")].encode(), "made")


@pytest.mark.parametrize("form", ["text", "pre"])
def test_a_filing_of_plain_text_alone_and_within_html(form: str) -> None:
    text = STATEMENT if form == "text" else f"<html><body><PRE>{STATEMENT}</PRE></body></html>"
    made = read_document(text.encode(), "made")
    ((number, statement),) = tables(made)
    check_statement(statement)
    assert number == 1
    assert [page.number for page in made.pages] == [1, 2]


def test_lines_of_dashes_that_mail_escaped_are_rules() -> None:
    text = STATEMENT.replace(
        "                                          ----", "- ----                                    ----"
    )
    ((_, statement),) = tables(read_document(text.encode(), "made"))
    check_statement(statement)


@pytest.mark.parametrize("wrapped", ["{}", "<html><body><pre>{}</pre></body></html>"])
def test_endless_pages_are_refused(wrapped: str) -> None:
    data = wrapped.format("Sales rose.\n<PAGE>\n" * 9).encode()
    with pytest.raises(UserError, match="has 10 pages; expected at most 5"):
        read_document(data, "endless", Limits(pages=5))
