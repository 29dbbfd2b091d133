"""A judge with other weights of its reward model.

Invariant: only the weights differ, and with them the sha256 of the reward model and of every panel above it.
"""

from rlaif.judges.panel import PanelSpec
from rlaif.judges.rating import RewardModelSpec
from rlaif.judges.spec import JudgeSpec


def reward_models(spec: JudgeSpec) -> list[RewardModelSpec]:
    """Return the reward models among a judge's leaves."""
    return [leaf for leaf in spec.leaves if isinstance(leaf, RewardModelSpec)]


def with_reward_model(spec: JudgeSpec, folder: str) -> JudgeSpec:
    """Return a judge whose reward models are the one in a local folder."""
    if isinstance(spec, RewardModelSpec):
        return spec.model_copy(update={"model": folder})
    if isinstance(spec, PanelSpec):
        return spec.with_members(tuple(with_reward_model(member, folder) for member in spec.members))
    return spec
