"""The limit on what a judge's endpoints may charge."""

from rlaif.errors import UserError
from rlaif.inference.openai_server import Spending
from rlaif.judges.llm import LlmSpec
from rlaif.judges.spec import JudgeSpec
from rlaif.recipe.backend import OpenAIBackend


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
