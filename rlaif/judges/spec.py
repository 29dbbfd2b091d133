"""A judge as its file describes it, with all that the file names loaded; `rlaif.judges.build` makes it work.

Invariant: `sha` changes if and only if something changes that can change a verdict: never for a comment, a name, a
place or a default written out.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from rlaif.inference.backends import Backend, OpenAIBackend, Prices, VllmBackend
from rlaif.models.resolve import model_identity
from rlaif.prompts.front_matter import JudgeFrontMatter
from rlaif.prompts.template import PromptTemplate

Orders = Literal["both", "given"]
PanelMode = Literal["first-to-decide", "majority", "mean"]


class _Leaf:
    """A judge that speaks for itself: what holds of one that asks no model of ours, unless it says otherwise."""

    __slots__ = ()

    @property
    def models(self) -> frozenset[str]:
        """Models that engines of ours serve it."""
        return frozenset()

    @property
    def leaves(self) -> "tuple[LeafSpec, ...]":
        """The judges that speak: itself."""
        return (cast("LeafSpec", self),)

    @property
    def answer_tokens(self) -> int:
        """Longest answer of a model of ours, in tokens."""
        return 0

    @property
    def prices(self) -> Prices | None:
        """What its verdicts are charged for, or None."""
        return None


@dataclass(frozen=True, slots=True)
class ReferenceSpec(_Leaf):
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
    def files(self) -> frozenset[tuple[str, Path]]:
        """Files that it is made of, each with the kind of folder that it belongs to."""
        return frozenset({("judges", self.path)})

    def describe(self) -> dict[str, Any]:
        """Return plain values for a run's record."""
        return {"name": self.name, "kind": "reference", "sha": self.sha, "tolerance": self.tolerance}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a judge's model is asked for a text.

    Attributes:
        temperature: 0 is greedy; None is the server's own.
        max_tokens: longest answer; one that it cuts has no verdict.
        samples: answers to each question; a question's preference or rating is their mean.
    """

    temperature: float | None
    max_tokens: int
    samples: int


@dataclass(frozen=True, slots=True)
class LlmSpec(_Leaf):
    """A judge that asks a model to compare two answers or to rate one.

    Attributes:
        name, path: of the file.
        prompt: its prompt file, of kind `pairwise` or `pointwise`.
        front: the prompt's front matter: how the answer is read.
        backend: what serves the model.
        orders: of a pairwise judge, whether each comparison is asked in both orders, or as given alone.
        rubric: criteria of the user's own for the prompt, or "".
        sampling: of a judge that answers with a text; None for one that is read from log-probabilities.
        principles: of which one is drawn for each comparison; empty for a prompt that shows none.
        principles_path: the file that they stand in, or None.
        seed: of all that is drawn.
    """

    name: str
    path: Path
    prompt: PromptTemplate
    front: JudgeFrontMatter
    backend: Backend
    orders: Orders
    rubric: str
    sampling: Sampling | None = None
    principles: tuple[str, ...] = ()
    principles_path: Path | None = None
    seed: int = 0

    @property
    def model(self) -> str:
        """The model's name as in the file; of our own engines, `policy` is the run's initial policy."""
        return self.backend.model

    @property
    def pairwise(self) -> bool:
        """Whether it compares two answers rather than rates one."""
        return self.front.kind == "pairwise"

    @property
    def draws(self) -> bool:
        """Whether anything depends on the seed."""
        return bool(self.principles) or (self.sampling is not None and self.sampling.temperature != 0)

    @property
    def sha(self) -> str:
        """sha256 of what decides its verdicts; how the answer is read stands in the prompt's."""
        return _sha(self._deciding())

    def _deciding(self) -> dict[str, Any]:
        tree: dict[str, Any] = {
            "kind": "llm",
            "prompt": self.prompt.sha,
            "backend": self.backend.identity,
            "rubric": self.rubric,
        }
        if self.pairwise:
            tree["orders"] = self.orders
        if self.sampling is not None:
            tree["sampling"] = asdict(self.sampling)
        if self.principles:
            tree["principles"] = self.principles
        if self.draws:
            tree["seed"] = self.seed
        return tree

    @property
    def models(self) -> frozenset[str]:
        """The model that an engine of ours serves it; none where an endpoint does."""
        return frozenset({self.backend.model}) if isinstance(self.backend, VllmBackend) else frozenset()

    @property
    def files(self) -> frozenset[tuple[str, Path]]:
        """Files that it is made of, each with the kind of folder that it belongs to."""
        own = {("judges", self.path), ("prompts", self.prompt.path)}
        return frozenset(own | ({("judges", self.principles_path)} if self.principles_path else set()))

    @property
    def answer_tokens(self) -> int:
        """Longest answer of a model of ours, in tokens."""
        if not self.models:
            return 0
        return 1 if self.sampling is None else self.sampling.max_tokens

    @property
    def prices(self) -> Prices | None:
        """What its verdicts are charged for, or None."""
        return self.backend.prices if isinstance(self.backend, OpenAIBackend) else None

    def describe(self) -> dict[str, Any]:
        """Return plain values for a run's record."""
        return {
            "name": self.name,
            **self._deciding(),
            "sha": self.sha,
            "prompt": self.prompt.name,
            "prompt_sha": self.prompt.sha,
            "backend": self.backend.type,
            **{name: value for name, value in self.backend.identity.items() if name != "type"},
        }


@dataclass(frozen=True, slots=True)
class RewardModelSpec(_Leaf):
    """A judge that is a sequence classifier with one output.

    Attributes:
        name, path: of the file.
        model: hub id or local directory.
        prompt: prompt file of kind `answer` that puts the question, as the policy's does.
        batch_size: conversations that are scored at once.
        device: `auto` takes a GPU where there is one.
    """

    name: str
    path: Path
    model: str
    prompt: PromptTemplate
    batch_size: int
    device: str

    @property
    def sha(self) -> str:
        """sha256 of what decides its verdicts: of a directory its weights, which a training can write anew."""
        return _sha({"kind": "reward-model", "model": model_identity(self.model), "prompt": self.prompt.sha})

    @property
    def files(self) -> frozenset[tuple[str, Path]]:
        """Files that it is made of, each with the kind of folder that it belongs to."""
        return frozenset({("judges", self.path), ("prompts", self.prompt.path)})

    def describe(self) -> dict[str, Any]:
        """Return plain values for a run's record."""
        return {
            "name": self.name,
            "kind": "reward-model",
            "sha": self.sha,
            "model": self.model,
            "prompt": self.prompt.name,
            "prompt_sha": self.prompt.sha,
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
    mode: PanelMode
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
        """All models that engines of ours serve its members."""
        return frozenset().union(*(member.models for member in self.members))

    @property
    def leaves(self) -> "tuple[LeafSpec, ...]":
        """The judges that speak: its members, and of a member that is a panel, those of it."""
        return tuple(leaf for member in self.members for leaf in member.leaves)

    @property
    def files(self) -> frozenset[tuple[str, Path]]:
        """Files that it and its members are made of, each with the kind of folder that it belongs to."""
        return frozenset({("judges", self.path)}).union(*(member.files for member in self.members))

    @property
    def answer_tokens(self) -> int:
        """Longest answer of a member's model, in tokens."""
        return max(member.answer_tokens for member in self.members)

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


LeafSpec = ReferenceSpec | LlmSpec | RewardModelSpec
"""A judge that speaks for itself."""
JudgeSpec = LeafSpec | PanelSpec


def _sha(tree: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
