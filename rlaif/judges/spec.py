"""What every judge spec offers: a judge file as a frozen model, with the files that it names loaded.

Invariant: `sha` changes if and only if something changes that can change a verdict: never for a comment, a name, a
path or a default that is written out.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr

from rlaif.errors import UserError
from rlaif.prompts.template import PromptTemplate, load_template
from rlaif.recipe.base import Section
from rlaif.recipe.judge import Prices


class KeyFault(UserError):
    """A key of a judge file, such as `judges.1`, does not fit the other keys or the files that it names."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key, self.problem = key, problem


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a spec comes from; the validation context of `JudgeSpec`.

    Attributes:
        path: of the judge file; the files that it names may lie beside it.
        load_member: reads a judge that a panel names, given its name and the key that names it.
    """

    path: Path
    name: str
    load_member: "Callable[[str, str], JudgeSpec] | None" = None


class JudgeSpec(Section):
    """A judge as its file describes it; the defaults are those of a judge that asks no model of our engines."""

    kind: str
    _origin: Origin = PrivateAttr()

    def model_post_init(self, context: Any) -> None:
        """Load what the file names, or raise KeyFault for a key whose value does not fit."""
        self._origin = context if isinstance(context, Origin) else Origin(Path(f"{self.kind}.yaml"), self.kind)
        self._resolve()

    def _resolve(self) -> None:
        """Load what the file names; for the kinds that name files."""

    def _load_template(self, name: str, *, reasoning: bool = False) -> PromptTemplate:
        try:
            return load_template(name, beside=self.path, reasoning=reasoning)
        except UserError as error:
            raise KeyFault("prompt", str(error)) from None

    @property
    def path(self) -> Path:
        return self._origin.path

    @property
    def name(self) -> str:
        """Name of the judge: that of its file, with the overrides that it was named with."""
        return self._origin.name

    @property
    def sha(self) -> str:
        """sha256 of what decides its verdicts."""
        return hashlib.sha256(json.dumps(self._deciding(), sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def _deciding(self) -> dict[str, Any]:
        """Return what decides its verdicts, as JSON values."""
        raise NotImplementedError

    @property
    def models(self) -> frozenset[str]:
        """Models that our engines serve for it."""
        return frozenset()

    @property
    def leaves(self) -> "tuple[JudgeSpec, ...]":
        """The judges that give verdicts: itself, or the members of a panel, those of nested panels included."""
        return (self,)

    @property
    def files(self) -> frozenset[tuple[str, Path]]:
        """Files that it is made of, each with the kind of folder that it belongs to."""
        return frozenset({("judges", self.path)})

    @property
    def answer_tokens(self) -> int:
        """Longest answer of a model of ours, in tokens."""
        return 0

    @property
    def prices(self) -> Prices | None:
        """What its endpoint charges, or None."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return plain values for a run's record."""
        return {"name": self.name, **self._deciding(), "sha": self.sha}
