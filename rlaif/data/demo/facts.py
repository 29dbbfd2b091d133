"""Generates sentences for the prose of a fictional filing, each with the questions that only it answers.

Invariant: the sentence of a fact contains its answers word for word, and no other kind of fact answers its questions.
"""

from collections.abc import Callable

from rlaif.data.demo.filings import Filing, percent
from rlaif.data.seeded_random import SeededRandom

_FIRST_NAMES = (
    "Maria", "James", "Aisha", "Peter", "Elena", "David", "Grace", "Omar", "Ingrid", "Samuel", "Priya", "Thomas",
    "Lucia", "Victor", "Hannah", "Daniel", "Mei", "Robert", "Nadia", "Henrik", "Carla", "Joseph", "Amara", "Walter",
)  # fmt: skip
_LAST_NAMES = (
    "Ellison", "Okafor", "Lindqvist", "Marsh", "Delgado", "Whitaker", "Rao", "Novak", "Castellan", "Brandt", "Osei",
    "Harmon", "Petrov", "Sinclair", "Yamada", "Farrow", "Kessler", "Moreau", "Tran", "Aldridge", "Vance", "Iqbal",
    "Rowe", "Santoro",
)  # fmt: skip
_TOWNS = (
    "Dunmore", "Alder Falls", "Port Hadley", "Kingsbridge", "Mill Creek", "Sandoval", "Westmoor", "Cedar Bluff",
    "Oakhurst", "Fairbank", "Stonebridge", "Laketon", "Redfern", "Clearwater Bend", "Haverton", "Pine Hollow",
)  # fmt: skip
_STATES = (
    "Ohio", "Texas", "Oregon", "Georgia", "Michigan", "Virginia", "Colorado", "Minnesota", "Arizona", "Illinois",
    "Pennsylvania", "Tennessee", "Florida", "Wisconsin",
)  # fmt: skip
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


class Fact:
    """A sentence for the prose of a filing, and the (question, gold answer) pairs that it answers."""

    def __init__(self, sentence: str, *questions: tuple[str, str]) -> None:
        self.sentence, self.questions = sentence, questions


def _person(rng: SeededRandom) -> str:
    return f"{rng.one(*_FIRST_NAMES)} {rng.one(*_LAST_NAMES)}"


def _amounts(rng: SeededRandom, filing: Filing) -> Fact:
    line = rng.one(*(line for line in filing.lines.values() if line.before > 0 and not line.at_end))
    now, before = filing.money(line.now), filing.money(line.before)
    verb, pronoun = ("were", "they") if line.plural else ("was", "it")
    year, last = filing.year, filing.year - 1
    moved = "rose" if line.now > line.before else "fell"
    sentence = rng.one(
        f"{line.label} {verb} {now} in fiscal {year}, compared with {before} in fiscal {last}.",
        f"{line.label} {moved} to {now} in fiscal {year} from {before} in fiscal {last}.",
        f"In fiscal {year}, {line.phrase} {verb} {now}; in fiscal {last}, {pronoun} {verb} {before}.",
    )
    question = f"What {verb} {filing.whose} {line.phrase} in fiscal"
    return Fact(sentence, (f"{question} {year}?", now), (f"{question} {last}?", before))


def _employees(rng: SeededRandom, filing: Filing) -> Fact:
    count = f"{rng.between(240, 48_000):,}"
    sentence = rng.one(
        f"As of {filing.year_end}, {filing.year}, the company had {count} employees.",
        f"The company employed {count} people at the end of fiscal {filing.year}.",
    )
    return Fact(sentence, (f"How many employees did {filing.company} have at the end of fiscal {filing.year}?", count))


def _sites(rng: SeededRandom, filing: Filing) -> Fact:
    total = rng.between(25, 900)
    opened = rng.between(2, total // 5)
    name, year = filing.sector.sites, filing.year
    return Fact(
        f"It operated {total} {name} at year end, {opened} of which it opened during fiscal {year}.",
        (f"How many {name} did {filing.company} operate at the end of fiscal {year}?", str(total)),
        (f"How many {name} did {filing.company} open in fiscal {year}?", str(opened)),
    )


def _margin(rng: SeededRandom, filing: Filing) -> Fact:
    label, name = rng.one(("Gross profit", "Gross margin"), ("Operating income", "Operating margin"))
    part, sales = filing.lines[label], filing.lines[filing.sector.sales]
    now, before = percent(part.now, sales.now), percent(part.before, sales.before)
    question = f"What was {filing.whose} {name.lower()} in fiscal"
    return Fact(
        f"{name} was {now} in fiscal {filing.year}, against {before} a year earlier.",
        (f"{question} {filing.year}?", now),
        (f"{question} {filing.year - 1}?", before),
    )


def _tax_rate(rng: SeededRandom, filing: Filing) -> Fact:
    rate = f"{rng.between(150, 279) / 10:.1f}%"
    return Fact(
        f"The effective tax rate for fiscal {filing.year} was {rate}.",
        (f"What was {filing.whose} effective tax rate for fiscal {filing.year}?", rate),
    )


def _chief(rng: SeededRandom, filing: Filing) -> Fact:
    name, since = _person(rng), str(filing.year - rng.between(1, 9))
    title = rng.one("chief executive officer", "chief financial officer", "chief operating officer")
    sentence = rng.one(
        f"{name} has been {title} of {filing.company} since {since}.",
        f"{name} has served as its {title} since {since}.",
    )
    return Fact(
        sentence,
        (f"Who was {filing.whose} {title} in fiscal {filing.year}?", name),
        (f"Since which year has {name} been {title} of {filing.company}?", since),
    )


def _auditor(rng: SeededRandom, filing: Filing) -> Fact:
    firm = f"{' & '.join(rng.some(_LAST_NAMES, 2))} LLP"
    sentence = rng.one(
        f"{firm} audited the financial statements for fiscal {filing.year}.",
        f"The independent auditor for fiscal {filing.year} was {firm}.",
    )
    return Fact(sentence, (f"Which firm audited {filing.whose} financial statements for fiscal {filing.year}?", firm))


def _segment(rng: SeededRandom, filing: Filing) -> Fact:
    segment, share = rng.one(*filing.sector.segments), f"{rng.between(34, 72)}%"
    sales, year = filing.sector.sales.lower(), filing.year
    return Fact(
        f"{segment} was the largest segment, with {share} of {sales}.",
        (f"What was {filing.whose} largest segment in fiscal {year}?", segment),
        (f"What share of {filing.whose} fiscal {year} {sales} came from {segment}?", share),
    )


def _headquarters(rng: SeededRandom, filing: Filing) -> Fact:
    town = f"{rng.one(*_TOWNS)}, {rng.one(*_STATES)}"
    sentence = rng.one(f"The company is headquartered in {town}.", f"Its head office is in {town}.")
    return Fact(sentence, (f"Where is {filing.company} headquartered?", town))


def _year_end(rng: SeededRandom, filing: Filing) -> Fact:
    date = f"{filing.year_end}, {filing.year}"
    return Fact(
        f"Fiscal {filing.year} ended on {date}.",
        (f"On what date did {filing.whose} fiscal {filing.year} end?", date),
    )


def _acquisition(rng: SeededRandom, filing: Filing) -> Fact:
    month = rng.between(1, 12)
    year = filing.year if month <= filing.end_month else filing.year - 1
    date = f"{_MONTHS[month - 1]} {rng.between(1, 28)}, {year}"
    surname = _person(rng).split()[1]
    target = f"{surname} {rng.one('Brothers', 'Partners', 'Holdings', 'Labs', 'Works')}"
    price = f"${rng.between(41, 2400) / 10:,.1f} million"
    return Fact(
        f"On {date}, the company acquired {target} for {price} in cash.",
        (f"How much did {filing.company} pay for {target}?", price),
        (f"When did {filing.company} acquire {target}?", date),
        (f"Which business did {filing.company} acquire in fiscal {filing.year}?", target),
    )


def _notes(rng: SeededRandom, filing: Filing) -> Fact:
    amount = f"${rng.between(5, 120) * 5}.0 million"
    rate = f"{rng.between(10, 31) * 0.25:.2f}%"
    due = str(filing.year + rng.between(5, 20))
    issued = f"that {filing.company} issued in fiscal {filing.year}"
    return Fact(
        f"During fiscal {filing.year} it issued {amount} of {rate} senior notes due {due}.",
        (f"What amount of senior notes did {filing.company} issue in fiscal {filing.year}?", amount),
        (f"What interest rate do the senior notes {issued} bear?", rate),
        (f"In which year are the senior notes {issued} due?", due),
    )


def _dividend(rng: SeededRandom, filing: Filing) -> Fact:
    dividend = f"${rng.between(8, 360) / 100:.2f} per share"
    return Fact(
        f"Dividends declared for fiscal {filing.year} were {dividend}.",
        (f"What dividends did {filing.company} declare for fiscal {filing.year}?", dividend),
    )


def _repurchases(rng: SeededRandom, filing: Filing) -> Fact:
    shares = f"{rng.between(2, 90) / 10:.1f} million shares"
    cost = f"${rng.between(60, 3900) / 10:,.1f} million"
    return Fact(
        f"It repurchased {shares} for {cost} in fiscal {filing.year}.",
        (f"How much did {filing.company} spend on share repurchases in fiscal {filing.year}?", cost),
        (f"How many shares did {filing.company} repurchase in fiscal {filing.year}?", shares),
    )


def _customer(rng: SeededRandom, filing: Filing) -> Fact:
    customer = f"{_person(rng).split()[1]} {rng.one('Group', 'Trading', 'Wholesale', 'Supply')}"
    share = f"{rng.between(10, 29)}%"
    sales, year = filing.sector.sales.lower(), filing.year
    return Fact(
        f"{customer}, the largest customer, accounted for {share} of {sales} in fiscal {year}.",
        (f"Who was {filing.whose} largest customer in fiscal {year}?", customer),
        (f"What share of {filing.whose} {sales} came from its largest customer in fiscal {year}?", share),
    )


FACTS: tuple[Callable[[SeededRandom, Filing], Fact], ...] = (
    _amounts, _employees, _sites, _margin, _tax_rate, _chief, _auditor, _segment, _headquarters, _year_end,
    _acquisition, _notes, _dividend, _repurchases, _customer,
)  # fmt: skip
