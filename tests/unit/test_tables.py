"""Tables with each cell under its column head."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.data.sources import load_questions, questions_sha
from rlaif.documents.tables import with_heads
from rlaif.recipe import FileQuestions


@pytest.mark.parametrize(
    ("table", "shown"),
    [
        ("| | 2023 | 2022 |\n|---|---:|:--:|\n| Sales | 5 | 4 |", "Sales | 2023: 5 | 2022: 4"),
        (" | 2023 | 2022\nSales | $ 5.1 | (4)%", "Sales | 2023: $ 5.1 | 2022: (4)%"),
        ("(in millions) | 2023 | 2022\nSales | 5 | 4", "(in millions)\nSales | 2023: 5 | 2022: 4"),
        # A head of two lines; a unit for each column.
        (" | 2023 | 2022\n | $m | $m\nSales | 5 | 4", "Sales | 2023 $m: 5 | 2022 $m: 4"),
        # A head that stands alone is of all columns.
        ("  |  | Years ended May 31, | \n | 2023 | 2022 | 2021\nSales | 5 | 4 | 3",
         "Years ended May 31,\nSales | 2023: 5 | 2022: 4 | 2021: 3"),
        # Heads over several columns: at the left of each span, and centred over equal parts.
        (" | 2023 |  | 2022 | \n | Men | Women | Men | Women\nAge | 8 | 9 | 7 | 6",
         "Age | 2023 Men: 8 | 2023 Women: 9 | 2022 Men: 7 | 2022 Women: 6"),
        (" | 13 weeks |  | 52 weeks\n | 2023 | 2022 | 2023\nSales | 1 | 2 | 3",
         "Sales | 13 weeks 2023: 1 | 13 weeks 2022: 2 | 52 weeks 2023: 3"),
        (" |  | 13 weeks |  |  | 52 weeks | \n | a | b | c | a | b | c\nSales | 1 | 2 | 3 | 4 | 5 | 6",
         "Sales | 13 weeks a: 1 | 13 weeks b: 2 | 13 weeks c: 3 | 52 weeks a: 4 | 52 weeks b: 5 | 52 weeks c: 6"),
        # Sections, totals without a label, empty cells and dashes.
        (" | 2023 | 2022\nAssets: |  | \nCash | 5 | —\nDebt |  | 4\n | 5 | 4",
         "Assets:\nCash | 2023: 5 | 2022: —\nDebt | 2022: 4\n | 2023: 5 | 2022: 4"),
        # A head whose column is empty is kept.
        (" | Note | 2023\nSales |  | 5", "Note\nSales | 2023: 5"),
        # A bar alone is a row without cells.
        ("| | 2023 |\n|---|---|\n|", "2023\n"),
        # An escaped bar moves no figure under another head.
        ("| | 2023 | 2022 |\n|---|---|---|\n| A \\| B | 5 | 4 |", "A \\| B | 2023: 5 | 2022: 4"),
        # Words in cells, under Markdown's rule.
        ("| Name | Role |\n|---|---|\n| Ann | chair |", "Name\nAnn | Role: chair"),
    ],
)  # fmt: skip
def test_each_cell_has_its_head(table: str, shown: str) -> None:
    assert with_heads(table) == shown
    around = "Before, a|b.\n\n{}\n\nAfter."
    assert with_heads(around.format(table)) == around.format(shown)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No table.",
        "either a | or b",
        "a | b\nc | d",
        " | 5 | 4\nSales | 3 | 2",
        "| 2023 |\n| 2022 |",
        "|---|---|",
        "|\n|",
        # A second table right below, whose figures are of another year.
        "| | 2023 |\n|---|---|\n| Sales | 5 |\n| | 2021 |\n|---|---|\n| Sales | 4 |",
    ],
)
def test_a_text_without_heads_stays_as_it_is(text: str) -> None:
    assert with_heads(text) == text


cells = st.text(st.sampled_from("ab12 $%().,—|\n-:"), max_size=6)


@given(st.lists(st.lists(cells, max_size=5), max_size=6), st.booleans(), st.none() | st.integers(0, 6))
def test_no_cell_is_lost(rows: list[list[str]], enclosed: bool, rule: int | None) -> None:
    lines = [" | ".join(row) for row in rows]
    if enclosed:
        lines = [f"|{line}|" if line else "|" for line in lines]
    if rule is not None:
        lines.insert(rule, "|---|---|")
    text = "\n".join(lines)
    shown = with_heads(text)
    for line in text.split("\n"):
        # Markdown's rule has no content.
        assert all(cell.strip() in shown for cell in line.split("|") if cell.strip(" -:"))


def test_the_tables_of_tatqa_have_heads(shared_data: Path) -> None:
    rows = [json.loads(line) for line in (shared_data / "tatqa" / "train.jsonl").read_text("utf-8").splitlines()]
    contexts = {row["context"] for row in rows if row["evidence"] == "table"}
    assert contexts
    assert [context for context in contexts if with_heads(context) == context] == []


def test_a_recipes_questions_keep_their_ids_and_change_their_sha(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text(json.dumps({"question": "Sales?", "context": " | 2023\nSales | 5"}) + "\n", encoding="utf-8")
    source = FileQuestions(path=str(path))
    plain, heads = load_questions(source), load_questions(source, "heads")
    assert (plain[0].id, heads[0].context) == (heads[0].id, "Sales | 2023: 5")
    assert questions_sha(plain) != questions_sha(heads)
