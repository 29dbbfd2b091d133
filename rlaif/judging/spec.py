"""A judge as its file describes it, with all that the file names loaded; `rlaif.judging.build` makes it work.

Invariant: `sha` changes if and only if something changes that can change a verdict: never for a comment, a name, a
place or a default written out.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlaif.judging.front import PairwiseFront
from rlaif.judging.promptfile import PromptFile

Orders = Literal["both", "given"]


@dataclass(frozen=True, slots=True)
class ReferenceSpec:
    """A judge that holds each answer against the prompt's reference, without a model.

    Attributes:
        name, path: of the file.
        tolerance: relative difference within which two quantities are equal.
    """

    name: str
    path: Path
    tolerance: float

    @property
    def sha(self) -> str:
        """sha256 of what decides its verdicts."""
        return _sha({"kind": "reference", "tolerance": self.tolerance})

    @property
    def models(self) -> frozenset[str]:
        """None: it asks no model."""
        return frozenset()

    @property
    def leaves(self) -> "tuple[JudgeSpec, ...]":
        """Itself."""
        return (self,)

    def describe(self) -> dict[str, Any]:
        """Return plain values for a run's record."""
        return {"name": self.name, "kind": "reference", "sha": self.sha, "tolerance": self.tolerance}


@dataclass(frozen=True, slots=True)
class LlmSpec:
    """A judge that asks a model to compare two answers.

    Attributes:
        name, path: of the file.
        prompt: its prompt file, of kind `pairwise`.
        front: the prompt's front matter: labels, and how the answer is read.
        backend: type of what serves the model.
        model: the model's name as in the file; `policy` is the run's initial policy.
        orders: whether each comparison is asked in both orders, or as given alone.
        rubric: criteria of the user's own for the prompt, or "".
    """

    name: str
    path: Path
    prompt: PromptFile
    front: PairwiseFront
    backend: Literal["vllm"]
    model: str
    orders: Orders
    rubric: str

    @property
    def sha(self) -> str:
        """sha256 of what decides its verdicts; how the answer is read stands in the prompt's."""
        backend = {"type": self.backend, "model": self.model}
        tree = {
            "kind": "llm",
            "prompt": self.prompt.sha,
            "backend": backend,
            "orders": self.orders,
            "rubric": self.rubric,
        }
        return _sha(tree)

    @property
    def models(self) -> frozenset[str]:
        """The model it asks."""
        return frozenset({self.model})

    @property
    def leaves(self) -> "tuple[JudgeSpec, ...]":
        """Itself."""
        return (self,)

    def describe(self) -> dict[str, Any]:
        """Return plain values for a run's record."""
        return {
            "name": self.name,
            "kind": "llm",
            "sha": self.sha,
            "prompt": self.prompt.name,
            "prompt_sha": self.prompt.sha,
            "backend": self.backend,
            "model": self.model,
            "orders": self.orders,
            "rubric": self.rubric,
        }


@dataclass(frozen=True, slots=True)
class PanelSpec:
    """Several judges that come to one decision.

    Attributes:
        name, path: of the file.
        mode: how they come to it.
        members: the judges, in the order in which they are asked.
        skip_when_both_below: see `PanelFile`.
    """

    name: str
    path: Path
    mode: Literal["first-to-decide"]
    members: "tuple[JudgeSpec, ...]"
    skip_when_both_below: float | None

    @property
    def sha(self) -> str:
        """sha256 of what decides its verdicts."""
        members = [member.sha for member in self.members]
        tree = {
            "kind": "panel",
            "mode": self.mode,
            "members": members,
            "skip_when_both_below": self.skip_when_both_below,
        }
        return _sha(tree)

    @property
    def models(self) -> frozenset[str]:
        """All models that its members ask."""
        return frozenset().union(*(member.models for member in self.members))

    @property
    def leaves(self) -> "tuple[JudgeSpec, ...]":
        """The judges that speak: its members, and of a member that is a panel, those of it."""
        return tuple(leaf for member in self.members for leaf in member.leaves)

    def describe(self) -> dict[str, Any]:
        """Return plain values for a run's record."""
        return {
            "name": self.name,
            "kind": "panel",
            "sha": self.sha,
            "mode": self.mode,
            "skip_when_both_below": self.skip_when_both_below,
            "members": [member.describe() for member in self.members],
        }


JudgeSpec = ReferenceSpec | LlmSpec | PanelSpec


def _sha(tree: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
