"""Former names that are still accepted: of keys in YAML files and `--set`, of columns, and of judges and prompts.

Invariant: a former name reads as the new one, and a `RenamedWarning` names both. Both names of a key or column are an
error.
"""

import warnings
from collections.abc import Container, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rlaif.errors import Fault, RenamedWarning, UserError, shown
from rlaif.io.resources import list_resources


@dataclass(frozen=True, slots=True)
class Renamed:
    """The new name of a key, column, judge or prompt.

    Attributes:
        name: without the section of a key, which stays the same.
        values: the new value of each old one; None keeps the value.
        others: whether a value that is not among `values` is kept, rather than refused.
        instead: what is expected in place of a value that is refused, where `values` do not say it.
    """

    name: str
    values: Mapping[Hashable, Any] | None = None
    others: bool = False
    instead: str = ""

    def refuse_both(self, names: Container[str], fault: Fault) -> None:
        """Raise UserError with `fault` completed if the new name is among those given."""
        if self.name in names:
            problem = f"is the old name of {self.name}, which is given too"
            raise UserError(replace(fault, problem=problem, expected="one of the two"))

    def value(self, old: Any, fault: Fault) -> Any:
        """Return the new value of an old one; raise UserError with `fault` completed if it has none."""
        if self.values is None:
            return old
        if isinstance(old, Hashable) and old in self.values:
            return self.values[old]
        if self.others:
            return old
        expected = self.instead or " or ".join(map(repr, self.values))
        raise UserError(replace(fault, expected=expected, found=shown(old)))


Renames = Mapping[str, Renamed]
"""New names by old ones, dotted; `*` stands for any one part."""

_REASONING = ("constitution", "finance-correctness", "finance-grounded", "helpfulness", "rubric")
_LARGE = "model=Qwen/Qwen2.5-32B-Instruct"
_INSTALLED: Renames = {
    **{f"*.{name}-reasoning": Renamed(f"{name}:reasoning") for name in _REASONING},
    "judges.finance-grounded-32b": Renamed(f"finance-grounded:{_LARGE}"),
    "judges.finance-panel-32b": Renamed(f"finance-panel:{_LARGE}"),
    "judges.finance-panel-small": Renamed("finance-panel:skip_when_both_below=0.5"),
}


def new_name(parts: tuple[str, ...], renames: Renames) -> Renamed | None:
    """Return the new name of the last part of an old name, or None."""
    for dotted, renamed in renames.items():
        pattern = dotted.split(".")
        if len(pattern) == len(parts) and all(want in ("*", part) for want, part in zip(pattern, parts, strict=True)):
            return renamed
    return None


def warn_renamed(location: str, old: str, new: str) -> None:
    """Warn that an input uses an old name."""
    warnings.warn(f"{location}: {old} is now called {new}; the old name still works", RenamedWarning, stacklevel=3)


def current_name(kind: str, name: str) -> str:
    """Return what an installed judge or prompt is called now.

    Args:
        kind: `judges` or `prompts`.
        name: as a person wrote it. A file of the working directory with a former name goes before.
    """
    renamed = new_name((kind, name), _INSTALLED)
    if renamed is None or name in list_resources(kind):
        return name
    warn_renamed(kind.removesuffix("s"), name, renamed.name)
    return renamed.name
