"""`gold_set.json`: a judge's agreement with people on the gold set, in one round."""

from typing import Literal

from pydantic import ConfigDict, computed_field

from rlaif.store.records.record import Record, RecordPart


class GoldSetDisagreement(RecordPart):
    """A label of the gold set that the judge did not decide as people did."""

    id: str
    people: str
    """The side that people prefer."""
    judge: str
    """The side that the judge prefers, or the outcome without a side: `tie`, `unparsed`, `error`, `silent`."""
    reason: str = ""
    """The message of an `error`."""


class GoldSetRecord(Record):
    """The labels of the gold set, counted."""

    model_config = ConfigDict(extra="ignore")  # The file also holds the computed fields.

    layout: Literal[2] = 2
    round: int
    judge: str
    labels: int
    agreed: int
    """Labels that the judge decided as people did."""
    by_outcome: dict[str, int]
    min_agreement: float
    """Share of the labels that must agree."""
    disagreeing: tuple[GoldSetDisagreement, ...]
    """The other labels, in the order of the file."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def agreement(self) -> float:
        """Share of all labels, undecided ones included, on which the judge agrees with people."""
        return self.agreed / self.labels

    @computed_field  # type: ignore[prop-decorator]
    @property
    def passed(self) -> bool:
        """Whether the round may go on."""
        return self.agreement >= self.min_agreement

    @property
    def summary(self) -> str:
        """The agreement and its limit in one line."""
        share = f"{self.agreed} of {self.labels} labels of the gold set ({self.agreement:.3f})"
        limit = f"at least {self.min_agreement:g} is required"
        return f"round {self.round}: judge {self.judge} agrees with people on {share}; {limit}"
