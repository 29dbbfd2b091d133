"""When the work with a judge's endpoints stops: at a limit on money, or on the share of requests that fail."""

from collections import deque
from dataclasses import dataclass, field

from rlaif.errors import WorkError
from rlaif.inference.completions import Failure
from rlaif.recipe.judge import Prices

_LAST, _LEAST = 100, 20
"""Requests over which failures are counted: at most, and at least."""


@dataclass(slots=True)
class Spending:
    """Money spent on judges' verdicts.

    Invariant: every answer is counted once, by the endpoint's own token counts and the judge file's prices, and no
    request is sent once the limit is reached. Requests already on their way are still paid.

    Attributes:
        limit: at which to stop, or None.
        spent: so far, including earlier starts of the same run.
        name: of the setting with the limit, for the message.
    """

    limit: float | None = None
    spent: float = 0.0
    currency: str = "USD"
    name: str = "judge.max_cost"

    def check(self) -> None:
        """Raise WorkError, with a message on how to go on, if the limit is reached."""
        if self.limit is not None and self.spent >= self.limit:
            raise WorkError(
                f"{self.name}: {self.spent:.2f} {self.currency} spent on the judge, and {self.limit:g} is the limit; "
                f"what is judged is kept. To go on, raise {self.name} and run the same command"
            )

    def add(self, prices: Prices | None, prompt_tokens: int, completion_tokens: int) -> None:
        """Count one answer."""
        if prices is not None:
            self.spent += prices.cost(prompt_tokens, completion_tokens)


@dataclass(slots=True)
class ErrorShare:
    """How many of an endpoint's last requests failed.

    Attributes:
        most: share above which the work stops.
        name: of the endpoint or judge, for the message.
        unit: what is counted, in the plural.
    """

    most: float
    name: str
    unit: str = "requests"
    _failed: deque[bool] = field(default_factory=lambda: deque(maxlen=_LAST))

    def count(self, failure: Failure | None) -> None:
        """Count one request, by why it failed or None; raises WorkError if too many have failed.

        What lies in the content of a request says nothing about the next one, and is not counted.
        """
        if failure is not None and failure.kind == "content":
            return
        self._failed.append(failure is not None)
        failed, total = sum(self._failed), len(self._failed)
        if failure is not None and total >= _LEAST and failed > self.most * total:
            raise WorkError(
                f"{self.name}: {failed} of the last {total} {self.unit} failed, more than max_error_share of the judge "
                f"file ({self.most:g}); what is judged is kept. The last one: {failure.reason}"
            )
