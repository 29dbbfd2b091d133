"""What holds of any answer: thinking says nothing, every locale's numbers are read, a negation turns yes into no."""

import re
from decimal import Decimal
from itertools import product

import pytest
from babel.numbers import format_compact_decimal, format_currency, format_decimal
from hypothesis import assume, given
from hypothesis import strategies as st

from rlaif.chat import visible_answer
from rlaif.grading.quantities import parse_quantities
from rlaif.grading.score import score_answer

TAGS = (
    "think", "thinking", "thought", "thoughts", "reason", "reasoning", "reflection", "analysis", "scratchpad", "cot",
    "chain_of_thought", "thought_process", "reasoning_content", "seed:think",
)  # fmt: skip
PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="<>[]◁▷|"), max_size=60)
QUESTION = "Does the company pay dividends?"


def spelled(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from([name, name.upper(), name.capitalize()])


tags = st.sampled_from(TAGS).flatmap(spelled)


@given(tags, PLAIN, PLAIN.filter(str.strip))
def test_thinking_is_cut_off_with_and_without_its_opening_tag(tag: str, thought: str, answer: str) -> None:
    for reply in (f"<{tag}>{thought}</{tag}>{answer}", f"{thought}</{tag}>{answer}"):
        assert visible_answer(reply) == answer.strip()
    assert visible_answer(f"<{tag}>{thought}<{tag}>{thought}</{tag}>{thought}</{tag}>{answer}") == answer.strip()


@given(tags, PLAIN, PLAIN)
def test_thinking_without_an_end_has_no_answer(tag: str, before: str, thought: str) -> None:
    reply = f"{before}<{tag}>{thought}"
    assert visible_answer(reply) is None
    assert score_answer(reply, thought if thought.strip() else "7").outcome == "wrong"


@given(PLAIN)
def test_a_reply_without_thinking_is_unchanged(reply: str) -> None:
    assert visible_answer(reply) == reply


@pytest.mark.parametrize("reply", ["<reason why > 5% matters>", "the <thought of 7", "<analysis of revenue> is 7"])
def test_angle_brackets_around_words_are_no_thinking(reply: str) -> None:
    assert visible_answer(reply) == reply


@given(tags, st.sampled_from(["$5 million", "No", "Alder & Finch", "March 31, 2022"]), st.booleans())
def test_thinking_neither_helps_nor_harms_an_answer(tag: str, gold: str, right: bool) -> None:
    thought, answer = ("$6 million. Yes. Other & Co", gold) if right else (gold, "I do not know.")
    assert (score_answer(f"<{tag}>{thought}</{tag}>\n{answer}", gold, question=QUESTION).outcome == "right") is right


LOCALES = ("en", "de", "fr", "es", "it", "nl", "pt", "sv", "da", "nb", "pl", "en_IN", "de_CH")
# Short forms that mean another scale, or none, in English: "mil" is a million, "bn" 1e9, "t" a ton.
AMBIGUOUS = re.compile(r"[\s\d](?:mil|mi|bi|t|tn|bn|L)\.?$")
numbers = st.decimals(Decimal("1"), Decimal("999_999_999"), places=2)


def one_point_groups(text: str) -> bool:
    """Whether a text has one point and three digits after it, which is a decimal point in English."""
    return "," not in text and text.count(".") == 1 and len(text.partition(".")[2].split("\xa0")[0]) == 3


def the_value(text: str) -> float:
    (quantity,) = parse_quantities(text)
    return quantity.value


@pytest.mark.parametrize("locale", LOCALES)
@given(number=numbers)
def test_decimals_of_every_locale_are_read(locale: str, number: Decimal) -> None:
    text = format_decimal(number, locale=locale)
    assume(not one_point_groups(text) and not 1900 <= number < 2100)
    assert the_value(text) == pytest.approx(float(number))
    assert the_value(f"-{text}") == pytest.approx(-float(number))


@pytest.mark.parametrize("locale", LOCALES)
@given(number=numbers, currency=st.sampled_from(["EUR", "USD", "GBP", "CHF", "JPY", "INR"]))
def test_amounts_of_every_locale_are_read(locale: str, number: Decimal, currency: str) -> None:
    text = format_currency(number, currency, locale=locale)
    assume(not one_point_groups(text.strip("$€£¥₹ \xa0")))
    (quantity,) = parse_quantities(text)
    places = quantity.decimals
    assert quantity.value == pytest.approx(float(number), abs=0.51 * 10.0**-places)
    assert not quantity.year


# Portuguese has no short form that means the same in English.
@pytest.mark.parametrize(("locale", "form"), sorted({*product(LOCALES, ("short", "long"))} - {("pt", "short")}))
@given(tenths=st.integers(11, 99).filter(lambda tenths: tenths % 10), power=st.sampled_from([3, 5, 6, 7, 9]))
def test_short_forms_of_every_locale_are_read(locale: str, form: str, tenths: int, power: int) -> None:
    number = tenths * 10 ** (power - 1)
    text = format_compact_decimal(number, format_type=form, locale=locale, fraction_digits=2)
    assume(not one_point_groups(text) and not AMBIGUOUS.search(text))
    assert the_value(text) == pytest.approx(number, rel=0.01)


VERBS = (("pays", "pay", "dividends"), ("holds", "hold", "treasury shares"), ("owns", "own", "its headquarters"))


@given(st.sampled_from(VERBS), st.booleans(), st.sampled_from(["", "Yes, ", "No, "]))
def test_a_negation_turns_a_yes_into_a_no(verb: tuple[str, str, str], denied: bool, gold_lead: str) -> None:
    says, plain, what = verb
    question = f"Does the company {plain} {what}?"
    texts = {True: f"The company {says} {what}.", False: f"The company does not {plain} {what}."}
    gold = texts[not denied] if not gold_lead else f"{gold_lead}{texts[gold_lead == 'Yes, '].lower()}"
    gold_affirms = not denied if not gold_lead else gold_lead == "Yes, "
    for affirms in (True, False):
        short = "Yes." if affirms else "No."
        for answer in (texts[affirms], short, f"{short} {texts[affirms]}"):
            outcome = score_answer(answer, gold, question=question).outcome
            assert outcome == ("right" if affirms is gold_affirms else "wrong")


@given(st.text(max_size=200), st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_of_several_gold_answers_the_best_counts(answer: str, golds: list[str]) -> None:
    order = ("wrong", "open", "right")
    alone = [score_answer(answer, gold) for gold in golds]
    together = score_answer(answer, golds)
    assert together.outcome == max((score.outcome for score in alone), key=order.index)
    assert together.f1 == max(score.f1 for score in alone)
    assert together.grade == max(score.grade for score in alone)
