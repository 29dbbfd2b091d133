"""The objectives by the name that a phase gives."""

from collections.abc import Mapping
from typing import Any

from rlaif.objectives.dpo import DpoObjective
from rlaif.objectives.kto import KtoObjective
from rlaif.objectives.objective import Materials, Objective
from rlaif.objectives.policy_gradient import PolicyGradientObjective
from rlaif.objectives.sft import SftObjective
from rlaif.recipe import PhaseSection

OBJECTIVES: Mapping[str, type[Objective[Any]]] = {
    "dpo": DpoObjective,
    "kto": KtoObjective,
    "sft": SftObjective,
    "grpo": PolicyGradientObjective,
    "rloo": PolicyGradientObjective,
    "ppo": PolicyGradientObjective,
}


def prepare_objective(phase: PhaseSection, materials: Materials) -> Objective[Any]:
    """Return the objective of a phase, with what the phase names loaded and checked; see `Objective.prepare`."""
    return OBJECTIVES[phase.objective].prepare(phase, materials)
