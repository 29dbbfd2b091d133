"""The cost of remote judges, and the limit at which a run stops.

Invariant: every answer is counted once, by the endpoint's own token counts and the judge file's prices, and no request
is sent once the limit is reached. Requests already on their way are still paid.
"""

from dataclasses import dataclass

from rlaif.errors import WorkError
from rlaif.recipe.backend import Prices


@dataclass(slots=True)
class Spending:
    """Money spent on judges' verdicts.

    Attributes:
        limit: at which to stop, or None.
        spent: so far, including earlier starts of the same run.
        currency: of both.
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
