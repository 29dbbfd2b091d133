"""`people.json` of a round: the comparisons that were queued for people, and what came of them."""

from typing import Literal

from pydantic import Field

from rlaif.store.records.record import Record
from rlaif.store.records.round_records import Mean

PEOPLE_FILE = "people.json"


class PeopleRecord(Record):
    """Written with the queue, and again when the round goes on."""

    layout: Literal[1] = 1
    round: int
    since: str
    """When the queue was written, ISO 8601; the limit of the wait counts from then."""
    queued: int
    """Comparisons in the queue."""
    random: int
    """Those of them that were drawn at random from all of the round."""
    ended: str | None = None
    """When the round went on; None while it waits."""
    answered: int = 0
    """Comparisons with a label of at least one person, be it `skip`."""
    outcomes: dict[str, int] = Field(default_factory=dict)
    """Comparisons by what people decided: first, second, tie or both_bad; undecided where they skip or are split."""
    labels: dict[str, int] = Field(default_factory=dict)
    """Labels by the person."""
    demonstrations: int = 0
    """Answers that people wrote."""
    agreement: Mean | None = None
    """Share of the random comparisons with a preference of people on which the judge prefers the same answer; a judge
    that prefers none disagrees. None without such comparisons."""

    @property
    def summary(self) -> str:
        """What people decided, and how far the judge agrees with them, in one line."""
        if self.ended is None:
            return f"round {self.round}: {self.queued} comparisons wait for people since {self.since}"
        decided = self.answered - self.outcomes.get("undecided", 0)
        line = f"round {self.round}: people decided {decided} of {self.queued} comparisons"
        found = self.agreement
        if found is None or found.value is None or found.low is None or found.high is None:
            return line
        interval = f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
        return f"{line}; on {found.n} drawn at random the judge agrees with them in {interval}"
