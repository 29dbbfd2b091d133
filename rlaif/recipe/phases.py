"""A recipe's values with phases that are whole: what they share with the recipe, and the rounds of all together.

Invariant: a phase of a checked recipe holds all that its rounds use, and `rounds` counts those of all phases, with the
questions of each. A key that no round would use is an error.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from rlaif.recipe.base import Section
from rlaif.recipe.objectives import shared_sections
from rlaif.recipe.phase import amounts_of
from rlaif.recipe.training import TrainingSection

_Tree = Mapping[str, Any]
# What a judge keeps of the recipe's, whichever it is.
_OF_ANY_JUDGE = ("gold_set", "max_cost")


def with_whole_phases(tree: _Tree) -> _Tree:
    """Return a recipe's unchecked values with whole phases; as they are where there are none.

    Raises:
        ValueError: the recipe and its phases contradict each other.
    """
    phases = tree.get("phases")
    if not isinstance(phases, list) or not all(isinstance(phase, dict) for phase in phases):
        return tree
    if not phases:
        raise ValueError("phases: an empty list; expected at least one phase, or no `phases`")
    tree = {**tree, "judge": tree.get("judge", {"name": "reference"})}
    _check_used(tree.get("training"), phases)
    whole = [
        {**phase, **{name: _section(name, kind, tree.get(name), phase.get(name)) for name, kind in shared.items()}}
        for phase, shared in ((phase, shared_sections(phase)) for phase in phases)
    ]
    return {**tree, "phases": whole, "rounds": _rounds(tree.get("rounds"), whole)}


def _section(name: str, kind: type[Section], shared: Any, own: Any) -> Any:
    """Return a phase's section over the recipe's, of which it takes the keys that its class has."""
    if name == "judge":
        own, shared = ({"name": each} if isinstance(each, str) else each for each in (own, shared))
    if own is not None and not isinstance(own, dict):
        return own
    kept = {key: value for key, value in shared.items() if key in kind.model_fields} if isinstance(shared, dict) else {}
    if name == "judge" and own and own.get("name", kept.get("name")) != kept.get("name"):
        kept = {key: value for key, value in kept.items() if key in _OF_ANY_JUDGE}
    return _over(kept, own or {})


def _over(below: _Tree, above: _Tree) -> dict[str, Any]:
    both = deepcopy(dict(below))
    for key, value in above.items():
        old = both.get(key)
        both[key] = _over(old, value) if isinstance(old, dict) and isinstance(value, dict) else deepcopy(value)
    return both


def _check_used(training: Any, phases: Sequence[_Tree]) -> None:
    """Raise ValueError if the recipe's `training` sets a key that no phase has; its defaults are no setting."""
    kinds = [shared["training"] for phase in phases if (shared := shared_sections(phase))]
    used, defaults = {key for kind in kinds for key in kind.model_fields}, TrainingSection()
    for key, value in training.items() if isinstance(training, dict) and len(kinds) == len(phases) else ():
        if key in TrainingSection.model_fields and key not in used and value != getattr(defaults, key):
            raise ValueError(f"training.{key}: the objective of no phase has it; remove it")


def _rounds(rounds: Any, phases: Sequence[_Tree]) -> Any:
    """Return the recipe's `rounds` with those of all phases; as they are where a phase's are invalid."""
    counts, amounts = [], []
    for phase in phases:
        count, questions = phase.get("rounds", 1), phase.get("questions", 1.0)
        if not isinstance(count, int) or not isinstance(questions, int | float | list):
            return rounds
        counts.append(count)
        amounts += amounts_of(questions, count)
    if not isinstance(rounds, dict | None) or len(amounts) != sum(counts):
        return rounds
    own = {"count": sum(counts), "questions": amounts}
    for key, value in own.items():
        if rounds and rounds.get(key, value) != value:
            raise ValueError(f"rounds.{key}: with `phases`, each phase says its own; remove it")
    return {**(rounds or {}), **own}
