"""What remote judges cost, and the limit at which a run stops.

Invariant: every answer that came is counted once, as the endpoint's own token counts and the judge file's prices say;
and no request is sent once the limit is reached. What is on its way by then is still paid.
"""

from dataclasses import dataclass

from rlaif.errors import UserError, WorkError
from rlaif.judging.backend import OpenAIBackend, Prices
from rlaif.judging.spec import JudgeSpec, LlmSpec


@dataclass(slots=True)
class Spending:
    """Money spent on judges' verdicts.

    Attributes:
        limit: where to stop, or None.
        spent: so far, earlier starts of the same run included.
        currency: of both.
        name: of the setting that holds the limit, for the message.
    """

    limit: float | None = None
    spent: float = 0.0
    currency: str = "USD"
    name: str = "judge.max_cost"

    def check(self) -> None:
        """Raise WorkError if the limit is reached; the message says how to go on."""
        if self.limit is not None and self.spent >= self.limit:
            raise WorkError(
                f"{self.name}: {self.spent:.2f} {self.currency} spent on the judge, and {self.limit:g} is the limit; "
                f"what is judged is kept. To go on, raise {self.name} and run the same command"
            )

    def add(self, prices: Prices | None, prompt_tokens: int, completion_tokens: int) -> None:
        """Count one answer."""
        if prices is not None:
            self.spent += prices.cost(prompt_tokens, completion_tokens)


def remote_judges(spec: JudgeSpec) -> list[tuple[LlmSpec, OpenAIBackend]]:
    """Return the judges that ask an endpoint, with their backends."""
    return [
        (leaf, leaf.backend)
        for leaf in spec.leaves
        if isinstance(leaf, LlmSpec) and isinstance(leaf.backend, OpenAIBackend)
    ]


def limited_spending(
    spec: JudgeSpec, limit: float | None, spent: float = 0.0, name: str = "judge.max_cost"
) -> Spending:
    """Return the account of a judge.

    Args:
        spec: the judge.
        limit: in the currency of its prices, or None.
        spent: by earlier starts.
        name: of the setting that holds the limit.

    Raises:
        UserError: there is a limit, but no endpoint, no prices to hold it by, or several currencies.
    """
    remote = remote_judges(spec)
    currencies = {backend.prices.currency for _, backend in remote if backend.prices is not None}
    if limit is not None:
        if not remote:
            raise UserError(f"{name}: judge {spec.name} asks no endpoint that charges; expected no limit")
        for leaf, backend in remote:
            if backend.prices is None:
                raise UserError(f"{name}: {leaf.path} has no backend.prices to hold the limit by")
        if len(currencies) > 1:
            raise UserError(
                f"{name}: the judges' prices are in {' and '.join(sorted(currencies))}; expected one currency"
            )
    return Spending(limit, spent, min(currencies, default="USD"), name)
