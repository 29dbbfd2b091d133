"""How commands that work without a run serve the models of judges."""

from collections.abc import Iterable
from dataclasses import dataclass

from rlaif.models.builtin import BUILTIN
from rlaif.recipe import ClusterSection, PairsSection, PolicySection, SamplingSection, parse_overrides
from rlaif.recipe.base import Section


class ServingSettings(Section):
    """The sections of a recipe that such a command reads."""

    policy: PolicySection
    """The model behind the name `policy` of a judge file, and the type of all weights."""
    sampling: SamplingSection = SamplingSection()
    """How often a request is tried."""
    cluster: ClusterSection = ClusterSection()
    """Where engines run."""
    pairs: PairsSection = PairsSection()
    """Which decisions of `rlaif label` become pairs."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How judges' models are served.

    Attributes:
        address: of a Ray cluster to join; None starts one on this machine where one is needed.
        verbose: let the engines' output through.
        max_cost: stop asking endpoints at this cost, in the currency of the judge file's prices; None sets no limit.
        limit: name of the option or key that holds `max_cost`.
    """

    settings: ServingSettings
    address: str | None = None
    verbose: bool = False
    max_cost: float | None = None
    limit: str = "--max-cost"


def serving_settings(policy: str = BUILTIN, overrides: Iterable[str] = ()) -> ServingSettings:
    """Return default settings with overrides, such as `cluster.judge.engines=2` or `policy.dtype=bfloat16`."""
    return parse_overrides(ServingSettings, overrides, {"policy": {"model": policy}})
