"""Defaults that have changed since a run began.

Invariant: a run goes on under the defaults that it began with. A key that the recipe sets is never replaced, so that a
change of it is noticed.
"""

import json
from dataclasses import replace
from typing import Any, TypeVar

from rlaif.errors import UserError
from rlaif.recipe import stored_recipe, stored_tree
from rlaif.recipe.base import Section
from rlaif.rounds.setup import Setup
from rlaif.store.rundir import RunDir

S = TypeVar("S", bound=Section)

Key = tuple[str, ...]

_FORMER: dict[Key, Any] = {
    ("pairs", "truncated"): "allow",
    ("rounds", "gate", "confidence"): None,
}
"""Values of keys that older runs do not have in their `recipe.yaml`."""


def as_begun(run: RunDir, setup: Setup) -> Setup:
    """Return a setup in which these keys are what the run began with, where its recipe leaves them out."""
    text = run.recipe_text()
    if text is None:
        return setup
    begun, recipe = begun_recipe(text, run.path("recipe.yaml")), setup.recipe
    for key in _FORMER:
        if _has(begun, key):
            recipe = _with_default(recipe, key, _value(begun, key))
    return replace(setup, recipe=recipe)


def begun_recipe(text: str, origin: str) -> dict[str, Any]:
    """Return a run's `recipe.yaml` as plain values; keys that the version that wrote it did not know have defaults."""
    tree = stored_tree(text, origin)
    former = [f"{'.'.join(key)}={json.dumps(value)}" for key, value in _FORMER.items() if not _has(tree, key)]
    try:
        return stored_recipe(text, origin, former).model_dump(mode="json")
    except UserError:
        return tree


def _has(tree: Any, key: Key) -> bool:
    return not key or (isinstance(tree, dict) and key[0] in tree and _has(tree[key[0]], key[1:]))


def _value(tree: Any, key: Key) -> Any:
    return _value(tree[key[0]], key[1:]) if key else tree


def _with_default(section: S, key: Key, value: Any) -> S:
    """Return a section with another value of a key that it leaves out."""
    name, rest = key[0], key[1:]
    if rest:
        value = _with_default(getattr(section, name), rest, value)
    elif name in section.model_fields_set:
        return section
    return section.model_copy(update={name: value})
