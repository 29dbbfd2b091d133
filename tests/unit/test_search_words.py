"""The terms by which texts are found: numbers whole, periods by their parts, any language."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.documents.search_words import query_terms, search_terms, term_id, term_ids


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("1,577 1577 1577.0 1'577 1\u202f577", ["1577"] * 5),
        ("$1,577.50 (1,577.5)", ["1577.5"] * 2),
        ("1.234.567,80 12,5% 12.50", ["1234567.8", "12.5", "12.5"]),
        ("FY2018 FY18 FY'18 fiscal 2018", ["2018", "2018", "2018", "fiscal", "2018"]),
        ("2Q23 2023Q2 Q2'23 Q2-2023 Q2 2023", ["q2", "2023"] * 5),
        ("H1 1H23", ["h1", "h1", "2023"]),
        ("third quarter", ["third", "quarter", "q3"]),
        ("10-K 10K 8-K", ["10k", "10k", "8k"]),
        ("3M_2018_10K", ["3m", "2018", "10k"]),
        ("BestBuy", ["best", "buy", "bestbuy"]),
        ("Amazon's company’s l'année", ["amazon", "company", "annee"]),
        ("R&D SG&A", ["rd", "sg", "a", "sga"]),
        ("non-GAAP", ["non", "gaap", "nongaap"]),
        ("2018-2020", ["2018", "2020"]),
        ("U.S. end.Next", ["us", "end", "next"]),
        ("liabilities assets business losses", ["liability", "asset", "business", "losse"]),
        ("Übergröße", ["ubergrosse"]),
        ("日本語2018", ["日本", "本語", "2018"]),
        ("हिन्दी पाठ", ["हिन्दी", "पाठ"]),
        ("١٢٣", ["123"]),
    ],
)
def test_terms(text: str, terms: list[str]) -> None:
    assert search_terms(text) == terms


def test_neighbouring_words_are_also_one_term_of_a_query() -> None:
    assert {"bestbuy", "best", "buy"} <= set(query_terms("Best Buy's sales"))
    assert "americanwaterwork" in query_terms("American Water Works")
    assert search_terms("AMERICANWATERWORKS_2021_10K")[0] == "americanwaterwork"


def test_a_query_has_each_term_once_and_no_function_word() -> None:
    assert query_terms("What is the net income, and what was net income?") == [
        "net",
        "income",
        "netincome",
    ]
    assert query_terms("Welche Rückstellungen hat die Bank of America?")[:2] == ["ruckstellungen", "hat"]
    assert "bankofamerica" in query_terms("Bank of America")
    assert query_terms("Who was it?") == ["who", "was", "it"]


@given(st.text())
def test_no_text_raises_and_ids_are_those_of_the_terms(text: str) -> None:
    terms = search_terms(text)
    assert term_ids(text) == [term_id(term) for term in terms]
    assert bool(query_terms(text)) == bool(terms)
    assert all(term and not term.isspace() for term in terms)


@given(st.integers(0, 10**12), st.sampled_from([",", "'"]))
def test_a_grouped_number_is_the_number(number: int, sign: str) -> None:
    assert search_terms(f"{number:,}".replace(",", sign)) == [str(number)]
