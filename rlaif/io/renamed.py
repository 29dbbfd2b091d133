"""Old names that are still accepted: of keys in YAML files and `--set`, and of columns in files of rows.

Invariant: an old name reads as the new one, a `RenamedWarning` names both, and giving both is an error.
"""

import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from rlaif.errors import Fault, RenamedWarning, UserError, shown


@dataclass(frozen=True, slots=True)
class Renamed:
    """The new name of a key.

    Attributes:
        name: the new key, in the same section.
        values: the new value of each old one; None keeps the value.
        others: whether a value that is not among `values` is kept, rather than refused.
    """

    name: str
    values: Mapping[Hashable, Any] | None = None
    others: bool = False

    def value(self, old: Any, fault: Fault) -> Any:
        """Return the new value of an old one; raise UserError with `fault` completed if it has none."""
        if self.values is None:
            return old
        if not isinstance(old, Hashable) or old not in self.values:
            if self.others:
                return old
            expected = " or ".join(map(repr, self.values))
            raise UserError(Fault(fault.path, line=fault.line, field=fault.field, expected=expected, found=shown(old)))
        return self.values[old]


def warn_renamed(place: str, old: str, new: str) -> None:
    """Warn that an input uses an old name."""
    warnings.warn(f"{place}: {old} is now called {new}; the old name still works", RenamedWarning, stacklevel=3)


def new_name(parts: tuple[str, ...], table: Mapping[str, Renamed]) -> Renamed | None:
    """Return the new name of a key's last part, or None; `*` in the table's dotted keys matches any one part."""
    for dotted, renamed in table.items():
        pattern = dotted.split(".")
        if len(pattern) == len(parts) and all(want in ("*", part) for want, part in zip(pattern, parts, strict=True)):
            return renamed
    return None
