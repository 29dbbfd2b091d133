"""Questions that are made from the tables of a context."""

from hypothesis import given
from hypothesis import strategies as st

from rlaif.data.demonstrations import Demonstration
from rlaif.data.question import Question, Turn
from rlaif.data.table_questions import table_demonstrations, table_questions
from rlaif.documents.tables import with_heads

TABLE = """\
(in millions) | 2023 | 2022
Net sales(1) | 10,208 | 8,631
Total | 7 | 6
Total | 8 | 9
Loss | (3) | (5)
Rate | 12% | –
2020 | 1 | 2

Sales rose in 2023."""


def answers(context: str, count: int = 50, seed: str = "0") -> dict[str, str]:
    return {each.question: each.answer for each in table_questions(context, count, seed)}


def test_cells_are_asked_for_by_label_and_head() -> None:
    found = answers(TABLE)
    assert sorted(found.values()) == sorted(["10,208", "8,631", "(3)", "(5)", "12%", found[compared(found)]])
    assert all(("2023" in asked) == (answer in ("10,208", "(3)", "12%")) for asked, answer in cells(found))
    assert all("Net sales" in asked for asked, answer in cells(found) if answer in ("10,208", "8,631"))


def compared(found: dict[str, str]) -> str:
    (asked,) = (each for each in found if "year" in each)
    return asked


def cells(found: dict[str, str]) -> list[tuple[str, str]]:
    return [each for each in found.items() if each[0] != compared(found)]


def test_years_are_compared_where_the_answer_is_plain() -> None:
    # Neither a label of two rows, nor losses, nor a row with one figure.
    for seed in map(str, range(8)):
        found = answers(TABLE, seed=seed)
        asked = compared(found)
        assert "Net sales" in asked
        assert found[asked] == ("2023" if any(word in asked for word in ("larger", "higher")) else "2022")


def test_a_context_as_heads_show_it_gives_the_same_questions() -> None:
    assert table_questions(with_heads(TABLE), 50, "0") == table_questions(TABLE, 50, "0")


def test_a_day_is_asked_for_as_a_day() -> None:
    found = answers("| | December 31, 2023 | Shares |\n|---|---|---|\n| Cash | 5 | 6 |")
    (asked,) = (asked for asked, answer in found.items() if answer == "5")
    assert "of December 31, 2023" in asked or "at December 31, 2023" in asked


def test_texts_and_tables_without_heads_give_none() -> None:
    assert table_questions("Sales were 5 | 6 in 2023.\n\nCosts: 7", 9, "0") == []
    assert table_questions("", 9, "0") == []


def test_each_context_is_asked_about_once() -> None:
    one, same, other = Question("a", "A?", TABLE), Question("b", "B?", TABLE), Question("c", "C?", "no table")
    chat = Question("d", "D?", TABLE + ".", chat=(Turn("user", "D?"),))

    def made(count: int, *questions: Question) -> list[Demonstration]:
        found = table_demonstrations(
            questions, count, seed="0-0", render=lambda each: [{"role": "user", "content": each.question}]
        )
        assert all(each.id.startswith(f"{question.id}/table-") for question, each in found)
        return [each for _, each in found]

    found = made(3, one, same, other, chat)
    assert [each.id for each in found] == ["a/table-0", "a/table-1", "a/table-2"]
    asked = {each.question: each.answer for each in table_questions(TABLE, 3, "0-0-a")}
    assert {each.prompt[0]["content"]: each.answer for each in found} == asked  # type: ignore[union-attr, index]
    assert made(3, same)[0].id == "b/table-0"
    assert made(0, one) == []


@given(st.text(alphabet="ab|12 -:\n().,%$", max_size=200), st.integers(0, 6), st.text(max_size=3))
def test_an_answer_is_of_the_context(context: str, count: int, seed: str) -> None:
    found = table_questions(context, count, seed)
    assert found == table_questions(context, count, seed)
    assert len(found) <= count
    assert all(each.answer in context for each in found)
