"""Generates sentences for the prose of a fictional filing, each with the questions that only it answers.

Invariant: the sentence of a fact contains its answers word for word, and no other kind of fact answers its questions.
"""

from collections.abc import Callable
from dataclasses import dataclass

from rlaif.data.demo.filings import Filing, tenths_of_percent
from rlaif.data.demo.names import auditor, person, place, possessive
from rlaif.data.seeded_random import SeededRandom


@dataclass(frozen=True, slots=True)
class Fact:
    """A sentence and the questions that it answers.

    Attributes:
        sentence: sentence for the prose of the filing.
        questions: (question, gold answer) pairs.
    """

    sentence: str
    questions: tuple[tuple[str, str], ...]


def _amounts(rng: SeededRandom, filing: Filing) -> Fact:
    line = rng.one([line for line in filing.lines.values() if line.before > 0 and not line.at_end])
    now, before = filing.money(line.now), filing.money(line.before)
    verb = "were" if line.plural else "was"
    year, last = filing.year, filing.year - 1
    moved = "rose" if line.now > line.before else "fell"
    pronoun = "they" if line.plural else "it"
    sentence = rng.one(
        (
            f"{line.label} {verb} {now} in fiscal {year}, compared with {before} in fiscal {last}.",
            f"{line.label} {moved} to {now} in fiscal {year} from {before} in fiscal {last}.",
            f"In fiscal {year}, {line.phrase} {verb} {now}; in fiscal {last}, {pronoun} {verb} {before}.",
        )
    )
    whose = possessive(filing.company)
    return Fact(
        sentence,
        (
            (f"What {verb} {whose} {line.phrase} in fiscal {year}?", now),
            (f"What {verb} {whose} {line.phrase} in fiscal {last}?", before),
        ),
    )


def _employees(rng: SeededRandom, filing: Filing) -> Fact:
    count = f"{rng.between(240, 48_000):,}"
    year = filing.year
    sentence = rng.one(
        (
            f"As of {filing.year_end}, {year}, the company had {count} employees.",
            f"The company employed {count} people at the end of fiscal {year}.",
        )
    )
    return Fact(sentence, ((f"How many employees did {filing.company} have at the end of fiscal {year}?", count),))


def _sites(rng: SeededRandom, filing: Filing) -> Fact:
    total = rng.between(25, 900)
    opened = rng.between(2, total // 5)
    name, year = filing.sector.sites, filing.year
    return Fact(
        f"It operated {total} {name} at year end, {opened} of which it opened during fiscal {year}.",
        (
            (f"How many {name} did {filing.company} operate at the end of fiscal {year}?", str(total)),
            (f"How many {name} did {filing.company} open in fiscal {year}?", str(opened)),
        ),
    )


def _margin(rng: SeededRandom, filing: Filing) -> Fact:
    sales = filing.lines[filing.sector.sales]
    label = rng.one(("Gross profit", "Operating income"))
    part = filing.lines[label]
    now, before = tenths_of_percent(part.now, sales.now), tenths_of_percent(part.before, sales.before)
    name = "Gross margin" if label == "Gross profit" else "Operating margin"
    share, last = f"{now // 10}.{now % 10}%", f"{before // 10}.{before % 10}%"
    year, whose = filing.year, possessive(filing.company)
    return Fact(
        f"{name} was {share} in fiscal {year}, against {last} a year earlier.",
        (
            (f"What was {whose} {name.lower()} in fiscal {year}?", share),
            (f"What was {whose} {name.lower()} in fiscal {year - 1}?", last),
        ),
    )


def _tax_rate(rng: SeededRandom, filing: Filing) -> Fact:
    rate = f"{rng.between(150, 279) / 10:.1f}%"
    return Fact(
        f"The effective tax rate for fiscal {filing.year} was {rate}.",
        ((f"What was {possessive(filing.company)} effective tax rate for fiscal {filing.year}?", rate),),
    )


def _chief(rng: SeededRandom, filing: Filing) -> Fact:
    name, since = person(rng), str(filing.year - rng.between(1, 9))
    title = rng.one(("chief executive officer", "chief financial officer", "chief operating officer"))
    return Fact(
        rng.one(
            (
                f"{name} has been {title} of {filing.company} since {since}.",
                f"{name} has served as its {title} since {since}.",
            )
        ),
        (
            (f"Who was {possessive(filing.company)} {title} in fiscal {filing.year}?", name),
            (f"Since which year has {name} been {title} of {filing.company}?", since),
        ),
    )


def _auditor(rng: SeededRandom, filing: Filing) -> Fact:
    firm = auditor(rng)
    return Fact(
        rng.one(
            (
                f"{firm} audited the financial statements for fiscal {filing.year}.",
                f"The independent auditor for fiscal {filing.year} was {firm}.",
            )
        ),
        ((f"Which firm audited {possessive(filing.company)} financial statements for fiscal {filing.year}?", firm),),
    )


def _segment(rng: SeededRandom, filing: Filing) -> Fact:
    segment, share = rng.one(filing.sector.segments), f"{rng.between(34, 72)}%"
    sales, year = filing.sector.sales.lower(), filing.year
    return Fact(
        f"{segment} was the largest segment, with {share} of {sales}.",
        (
            (f"What was {possessive(filing.company)} largest segment in fiscal {year}?", segment),
            (f"What share of {possessive(filing.company)} fiscal {year} {sales} came from {segment}?", share),
        ),
    )


def _headquarters(rng: SeededRandom, filing: Filing) -> Fact:
    where = place(rng)
    return Fact(
        rng.one((f"The company is headquartered in {where}.", f"Its head office is in {where}.")),
        ((f"Where is {filing.company} headquartered?", where),),
    )


def _year_end(rng: SeededRandom, filing: Filing) -> Fact:
    date = f"{filing.year_end}, {filing.year}"
    return Fact(
        f"Fiscal {filing.year} ended on {date}.",
        ((f"On what date did {possessive(filing.company)} fiscal {filing.year} end?", date),),
    )


_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


def _acquisition(rng: SeededRandom, filing: Filing) -> Fact:
    month = rng.between(1, 12)
    year = filing.year if month <= filing.end_month else filing.year - 1
    date = f"{_MONTHS[month - 1]} {rng.between(1, 28)}, {year}"
    surname = person(rng).split()[1]
    target = f"{surname} {rng.one(('Brothers', 'Partners', 'Holdings', 'Labs', 'Works'))}"
    price = f"${rng.between(41, 2400) / 10:,.1f} million"
    return Fact(
        f"On {date}, the company acquired {target} for {price} in cash.",
        (
            (f"How much did {filing.company} pay for {target}?", price),
            (f"When did {filing.company} acquire {target}?", date),
            (f"Which business did {filing.company} acquire in fiscal {filing.year}?", target),
        ),
    )


def _notes(rng: SeededRandom, filing: Filing) -> Fact:
    amount = f"${rng.between(5, 120) * 5}.0 million"
    rate = f"{rng.between(10, 31) * 0.25:.2f}%"
    due = str(filing.year + rng.between(5, 20))
    return Fact(
        f"During fiscal {filing.year} it issued {amount} of {rate} senior notes due {due}.",
        (
            (f"What amount of senior notes did {filing.company} issue in fiscal {filing.year}?", amount),
            (
                f"What interest rate do the senior notes that {filing.company} issued in fiscal {filing.year} bear?",
                rate,
            ),
            (f"In which year are the senior notes that {filing.company} issued in fiscal {filing.year} due?", due),
        ),
    )


def _dividend(rng: SeededRandom, filing: Filing) -> Fact:
    dividend = f"${rng.between(8, 360) / 100:.2f} per share"
    return Fact(
        f"Dividends declared for fiscal {filing.year} were {dividend}.",
        ((f"What dividends did {filing.company} declare for fiscal {filing.year}?", dividend),),
    )


def _repurchases(rng: SeededRandom, filing: Filing) -> Fact:
    shares = f"{rng.between(2, 90) / 10:.1f} million"
    cost = f"${rng.between(60, 3900) / 10:,.1f} million"
    return Fact(
        f"It repurchased {shares} shares for {cost} in fiscal {filing.year}.",
        (
            (f"How much did {filing.company} spend on share repurchases in fiscal {filing.year}?", cost),
            (f"How many shares did {filing.company} repurchase in fiscal {filing.year}?", f"{shares} shares"),
        ),
    )


def _customer(rng: SeededRandom, filing: Filing) -> Fact:
    customer = f"{person(rng).split()[1]} {rng.one(('Group', 'Trading', 'Wholesale', 'Supply'))}"
    share = f"{rng.between(10, 29)}%"
    sales, year = filing.sector.sales.lower(), filing.year
    return Fact(
        f"{customer}, the largest customer, accounted for {share} of {sales} in fiscal {year}.",
        (
            (f"Who was {possessive(filing.company)} largest customer in fiscal {year}?", customer),
            (
                f"What share of {possessive(filing.company)} {sales} came from its largest customer in fiscal {year}?",
                share,
            ),
        ),
    )


FACTS: tuple[Callable[[SeededRandom, Filing], Fact], ...] = (
    _amounts, _employees, _sites, _margin, _tax_rate, _chief, _auditor, _segment, _headquarters, _year_end,
    _acquisition, _notes, _dividend, _repurchases, _customer,
)  # fmt: skip
