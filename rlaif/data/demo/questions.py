"""Generates the demo's questions: excerpts of fictional filings, each with a question, its gold answer and evidence.

Invariants: a split and a seed give the same questions on every machine, and a smaller count gives the first of them. No
question occurs twice in a split. The splits share no company. Every gold answer follows from its context alone.
"""

from collections.abc import Callable
from dataclasses import replace

from rlaif.data.demo.facts import FACTS
from rlaif.data.demo.filings import Filing, Line, Split, percent, write_filing
from rlaif.data.question import Question
from rlaif.data.seeded_random import SeededRandom


def demo_questions(split: Split, count: int, seed: int = 0) -> list[Question]:
    """Generate questions about fictional filings.

    About 50% of the questions look up an amount in a table and 40% a fact in prose. 6% ask for the difference between
    two years, and 4% for the change in percent. A context has about 60 to 130 tokens.
    """
    rng = SeededRandom(f"rlaif demo filings {split} {seed}")
    questions: list[Question] = []
    links: set[str] = set()
    texts: set[str] = set()
    while len(questions) < count:
        filing = write_filing(rng, split)
        question = rng.weighted(_KINDS)(rng, filing)
        if filing.link in links or question.question in texts:
            continue
        links.add(filing.link)
        texts.add(question.question)
        questions.append(replace(question, id=f"demo-{split}-{seed}-{len(questions):05d}", doc_link=filing.link))
    return questions


def _table_lookup(rng: SeededRandom, filing: Filing) -> Question:
    lines = rng.some(list(filing.lines.values()), rng.between(3, 5))
    table = _Table(rng, filing, lines)
    line = rng.one(*lines)
    year, units = (filing.year, line.now) if rng.chance(0.65) else (filing.year - 1, line.before)
    verb = "were" if line.plural else "was"
    when = f"at the end of fiscal {year}" if line.at_end else f"in fiscal {year}"
    question = rng.one(
        f"What {verb} {filing.whose} {line.phrase} {when}?",
        f"{when[0].upper()}{when[1:]}, what {verb} {filing.whose} {line.phrase}?",
        f"What {line.phrase} did {filing.company} report for fiscal {year}?",
    )
    return Question("", question, table.text, filing.money(units), evidence=table.row(line))


def _prose_lookup(rng: SeededRandom, filing: Filing) -> Question:
    facts = [write(rng, filing) for write in rng.some(FACTS, rng.between(3, 4))]
    fact = rng.one(*facts)
    question, answer = rng.one(*fact.questions)
    head = f"{filing.company}, annual report for fiscal {filing.year}."
    return Question("", question, " ".join([head, *(fact.sentence for fact in facts)]), answer, evidence=fact.sentence)


def _difference(rng: SeededRandom, filing: Filing) -> Question:
    table, line, move, span = _two_years(rng, filing)
    question = rng.one(
        f"By how much did {filing.whose} {line.phrase} {move} {span}?",
        f"What was the {move} in {filing.whose} {line.phrase} {span}?",
    )
    return Question("", question, table.text, filing.money(abs(line.now - line.before)), evidence=table.row(line))


def _percentage(rng: SeededRandom, filing: Filing) -> Question:
    table, line, move, span = _two_years(rng, filing)
    question = f"By what percentage did {filing.whose} {line.phrase} {move} {span}?"
    answer = percent(abs(line.now - line.before), line.before)
    return Question("", question, table.text, answer, evidence=table.row(line))


_KINDS: tuple[tuple[Callable[[SeededRandom, Filing], Question], float], ...] = (
    (_table_lookup, 50.0),
    (_prose_lookup, 40.0),
    (_difference, 6.0),
    (_percentage, 4.0),
)


def _two_years(rng: SeededRandom, filing: Filing) -> tuple["_Table", Line, str, str]:
    """Return a table, a line in it that changed, by at least 1% if possible, and words for its move and both years."""
    lines = [line for line in filing.lines.values() if line.before > 0]
    moved = [line for line in lines if abs(line.now - line.before) * 100 >= line.before]
    line = rng.one(*(moved or lines))
    others = [other for other in filing.lines.values() if other is not line]
    table = _Table(rng, filing, [line, *rng.some(others, rng.between(2, 3))])
    move = "increase" if line.now > line.before else "decrease"
    return table, line, move, f"from fiscal {filing.year - 1} to fiscal {filing.year}"


class _Table:
    """A table of two fiscal years, with the scale of the amounts in the header or in every cell."""

    def __init__(self, rng: SeededRandom, filing: Filing, lines: list[Line]) -> None:
        self._filing = filing
        self._scale_in_head = rng.chance(0.2)
        self._newest_first = rng.chance(0.8)
        years = [filing.year, filing.year - 1]
        head = f"{filing.company}, fiscal years ended {filing.year_end}"
        if self._scale_in_head:
            head += f" (in {filing.scale}s)"
        columns = " | ".join(str(year) for year in (years if self._newest_first else reversed(years)))
        rows = [self.row(line) for line in filing.lines.values() if line in lines]
        self.text = "\n".join([head, f" | {columns}", *rows])

    def row(self, line: Line) -> str:
        """Return the table row of a line."""
        cells = [self._cell(line.now), self._cell(line.before)]
        return " | ".join([line.label, *(cells if self._newest_first else reversed(cells))])

    def _cell(self, units: int) -> str:
        number = self._filing.amount(abs(units))
        cell = f"$({number})" if units < 0 else f"${number}"
        return cell if self._scale_in_head else f"{cell} {self._filing.scale}"
