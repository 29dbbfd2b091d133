"""Comparison with gold answers: an answer scores 1 exactly if a person would mark it right."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rlaif.grading.quantities import parse_quantities
from rlaif.grading.score import contains_gold_answer, numeric_gold_answer, score_answer, token_f1

GOLD_ANSWER = "$412.6 million"


def score(answer: str, gold_answer: str = GOLD_ANSWER) -> float:
    return score_answer(answer, gold_answer).score


@pytest.mark.parametrize(
    "answer",
    [
        "$412.6 million",
        "$412,600 thousand",
        "$412,600,000",
        "412.6 million",
        "US$412.6M",
        "USD 0.4126 billion.",
        "412.6 million dollars",
        "$412.6 (in millions)",
        "$412.4 million",
        "**$412.6 million**",
        "Arden Foods' revenue in fiscal 2023 was $412.6 million.",
        "The revenue in fiscal 2023 was $412.6 million, compared with $398 million in 2022.",
        "Revenue was $412.6 million vs. $398 million.",
        "Revenue was higher in 2023, at $412.6 million, than the $398.0 million of 2022.",
        "Revenue increased from $398 million to $412.6 million.",
        "Revenue grew 3.7% to $412.6 million on December 31, 2023.",
        "Revenue rose by $14.6 million to $412.6 million.",
        "$398.0 million + $14.6 million = $412.6 million",
        "The 12,400 employees of 3M earned $412.6 million (Note 16, Form 10-K).",
        "Revenue was $412.6 million. In 2022 it was $398 million.",
        "In 2022 revenue was $398 million. It then grew. Therefore, the answer is $412.6 million.",
        "Revenue is worked out so:\n1. Products: $400 million\n2. Services: $12.6 million\nSum = $412.6 million",
    ],
)
def test_right_answers(answer: str) -> None:
    assert score(answer) == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "I do not know.",
        "2023",
        "412.6",
        "$412.6",
        "$412.6 billion",
        "$41.26 million",
        "-$412.6 million",
        "($412.6 million)",
        "€412.6 million",
        "412.6%",
        "It was $398 million or $412.6 million.",
        "Between $398 million and $412.6 million.",
        "Revenue was not $398 million but $412.6 million and $3 million.",
        "Revenue was $398 million. Or $412.6 million.",
        "$412.6 million - $398.0 million = $14.6 million",
        "It was $398 million to $412.6 million.",
    ],
)
def test_wrong_answers(answer: str) -> None:
    assert score(answer) == 0.0


@pytest.mark.parametrize(
    ("answer", "gold_answer", "right"),
    [
        ("-12", "(12)", True),
        ("(12)", "-12", True),
        ("12", "-12", False),
        ("-12", "12", False),
        ("a loss of 12", "-12", True),
        ("It decreased by 12.", "12", True),
        ("It decreased by $5 million.", "$5 million increase", False),
        ("12 percent", "12%", True),
        ("1,200 basis points", "12%", True),
        ("12", "12%", False),
        ("$12", "12%", False),
        ("3.66%", "3.7%", True),
        ("3.6%", "3.7%", False),
        ("12%", "12", True),
        ("$11,588 million", "11588", True),
        ("$11.6 billion", "$11,588", False),
        ("30.8%", "0.308", True),
        ("about 7%", "approximately 7%", True),
        ("25 days", "25", True),
        ("25 years", "25 days", False),
        ("In 2019, which was larger than in 2018.", "2019", True),
        ("2018", "2019", False),
        ("2018 or 2019", "2019", False),
        ("It grew by $14.6 million, from $398.0 million to $412.6 million.", "$14.6 million", True),
        ("The difference between $412.6 million and $398 million is $14.6 million.", "$14.6 million", True),
        ("Employees: 1950 people", "1,950", True),
        ("It repurchased 2.1 million shares for $6.2 million.", "2.1 million shares", True),
        ("It repurchased 2.1 million shares for $6.2 million.", "$6.2 million", True),
        ("$2.1 million", "2.1 million shares", False),
        ("2.1 million", "2.1 million shares", True),
        ("4,310 people", "4,310 employees", True),
        ("4,310", "4,310 employees", True),
        ("4,310 employees in 214 stores", "4,310", False),
        ("0", "0", True),
        ("1", "0", False),
    ],
)
def test_units_signs_and_years(answer: str, gold_answer: str, right: bool) -> None:
    assert score(answer, gold_answer) == float(right)


def test_tolerance_is_relative_and_can_be_set() -> None:
    assert score_answer("$414.0 million", GOLD_ANSWER).score == 1.0
    assert score_answer("$414.0 million", GOLD_ANSWER, tolerance=0.001).score == 0.0


@pytest.mark.parametrize(
    "gold_answer",
    [
        "27 May 2019",
        "Q2 2023",
        "Aug 2007- Jan 2011",
        "San Diego",
        "Income rose to $299.3 million in 2019",
        "5 and 6",
        "",
    ],
)
def test_texts_are_not_quantities(gold_answer: str) -> None:
    assert numeric_gold_answer(gold_answer) is None


def test_a_text_with_all_of_the_gold_answers_words_is_right_and_others_score_token_f1() -> None:
    result = score_answer("The auditor is Harlow & Pike LLP.", "Harlow & Pike LLP")
    assert not result.numeric
    assert not result.exact
    assert (result.outcome, result.score) == ("right", 1.0)
    assert result.f1 == pytest.approx(2 * 3 / (3 + 5))
    result = score_answer("The auditor is Harlow & Finch LLP.", "Harlow & Pike LLP")
    assert result.outcome == "open"
    assert result.score == result.f1 == pytest.approx(2 * 2 / (3 + 5))
    assert score_answer("the harlow & pike, LLP", "Harlow & Pike LLP").exact
    assert token_f1([], ["harlow"]) == token_f1(["harlow"], []) == score_answer("...", "Harlow").f1 == 0.0


def test_contains_gold_answer_is_softer_than_a_score() -> None:
    hedged = "It was $398 million or $412.6 million."
    assert score(hedged) == 0.0
    assert contains_gold_answer(hedged, GOLD_ANSWER)
    assert not contains_gold_answer("It was $398 million.", GOLD_ANSWER)
    assert contains_gold_answer("Audited by Harlow & Pike LLP in 2023", "Harlow & Pike LLP")
    assert not contains_gold_answer("Audited by Harlowe", "Harlow")
    assert not contains_gold_answer("anything", "")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("(1,234)", [-1234.0]),
        ("$(5.2) million", [-5.2e6]),
        ("a loss was ($5.2 million)", [-5.2e6]),
        ("grew by $14.6 million (3.7%)", [14.6e6, 0.037]),
        ("−5%", [-0.05]),
        ("$5-6 million", [5e6, 6e6]),
        ("10 to 15%", [0.10, 0.15]),
        ("€4.5 bn", [4.5e9]),
        ("1. Revenue was $5k", [5e3]),
        ("COVID-19, Note 16, ASC 606, Form 10-K, 3M and 1st", []),
        ("1.2.3 and 1,2,3", []),
        ("12,40 and 1 234,5 and CHF 5'200", [12.4, 1234.5, 5200.0]),
        ("9" * 500, []),
    ],
)
def test_quantities(text: str, values: list[float]) -> None:
    assert [quantity.value for quantity in parse_quantities(text)] == pytest.approx(values)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Net income was:\n-$5 million", [-5e6]),
        ("-3.7", [-3.7]),
        ("Notes:\n-1.5% due 2026\n-1.75% due 2030", [0.015, 2026.0, 0.0175, 2030.0]),
        ("-1.5% and -1.75%", [-0.015, -0.0175]),
    ],
)
def test_a_dash_before_a_number_is_a_sign_unless_several_lines_begin_with_one(text: str, values: list[float]) -> None:
    assert [quantity.value for quantity in parse_quantities(text)] == pytest.approx(values)


@pytest.mark.parametrize(
    "text", ["2023", "fiscal 2023", "FY23", "FY2023", "Q2 2023", "Dec. 31, 2023", "31 May 2023", "2023-12-31"]
)
def test_dates_are_years(text: str) -> None:
    assert [(quantity.number, quantity.year) for quantity in parse_quantities(text)] == [(2023.0, True)]


figures = st.text(alphabet="0123456789.,()-−%$€ kmbnKM=\n/:'’xFYQ", max_size=60)


@given(st.one_of(st.text(max_size=200), figures), st.one_of(st.text(max_size=60), figures))
@example("", "")
@example("\ud800 5", "5")
@example("٣ ٤", "²")
def test_any_text_scores_between_0_and_1(answer: str, gold_answer: str) -> None:
    result = score_answer(answer, gold_answer)
    assert 0.0 <= result.score <= 1.0
    assert 0.0 <= result.f1 <= 1.0
    contains_gold_answer(answer, gold_answer)
    for quantity in parse_quantities(answer):
        assert 0 <= quantity.start < quantity.end <= len(answer)


@given(st.integers(10, 10**9), st.sampled_from(["", "$", "€"]), st.sampled_from(["", " million", "%", " billion"]))
def test_a_gold_answer_answers_itself(tenths: int, currency: str, unit: str) -> None:
    gold_answer = f"{'' if unit == '%' else currency}{tenths // 10:,}.{tenths % 10}{unit}"
    assert score(gold_answer, gold_answer) == 1.0
    assert score(f"It was {gold_answer} in fiscal 2023.", gold_answer) == 1.0
    assert score(f"It was -{gold_answer}.", gold_answer) == 0.0
    wrong = gold_answer.replace(f"{tenths // 10:,}", f"{tenths // 10 + tenths + 1:,}", 1)
    assert score(wrong, gold_answer) == 0.0
    assert score(f"{wrong} or {gold_answer}", gold_answer) == 0.0


@pytest.mark.parametrize(
    "part", ["1 ", "1-", "between 1 and ", "$1 = ", "(", "May ", "1,111", "compared ", "\n1. A", "9"]
)
def test_a_long_answer_takes_linear_time(part: str) -> None:
    def seconds(count: int) -> float:
        started = time.process_time()
        score_answer(part * count, GOLD_ANSWER)
        return time.process_time() - started

    assert seconds(40_000) < 30 * seconds(4_000) + 0.5
