"""The spec of a panel: several judges that come to one decision."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from rlaif.judges.spec import JudgeSpec, KeyFault


class PanelSpec(JudgeSpec):
    """Several judges that come to one decision."""

    kind: Literal["panel"]
    mode: Literal["first-to-decide", "majority", "mean"]
    """`first-to-decide` asks the judges in turn, each only about the comparisons that those before it left open.
    `majority` asks all and counts their votes; `mean` asks all and averages their preferences. A tie is half a vote for
    each side; a judge that does not apply to a question has no vote."""
    judges: tuple[str, ...] = Field(min_length=1)
    """The judges, each once: names in `judges/`, or paths from the judge file or the working directory."""
    skip_when_both_below: float | None = None
    """With `first-to-decide`: a comparison that a rating judge ties with both ratings below this stays a tie, and no
    later judge is asked. Two answers that an exact check found wrong have nothing to teach, and a small model asked to
    choose between them would teach its own taste in mistakes."""

    _members: tuple[JudgeSpec, ...] = PrivateAttr(default=())

    def _resolve(self) -> None:
        if self.mode != "first-to-decide" and self.skip_when_both_below is not None:
            raise KeyFault("skip_when_both_below", f"mode {self.mode} asks all judges; remove this key")
        load = self._origin.load_member
        if load is None:
            raise ValueError("a panel is read from its file, since its members are")
        self._members = tuple(load(name, f"judges.{index}") for index, name in enumerate(self.judges))
        shas = [leaf.sha for leaf in self.leaves]
        if twice := [leaf.name for leaf in self.leaves if shas.count(leaf.sha) > 1]:
            # Verdicts are assigned by sha256, so the two would share theirs.
            raise KeyFault("judges", f"{' and '.join(twice)} are the same judge; expected each once")

    @property
    def members(self) -> tuple[JudgeSpec, ...]:
        """The judges, in the order in which they are asked."""
        return self._members

    def _deciding(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "mode": self.mode,
            "members": [member.sha for member in self._members],
            "skip_when_both_below": self.skip_when_both_below,
        }

    @property
    def models(self) -> frozenset[str]:
        """All models that our engines serve for its members."""
        return frozenset().union(*(member.models for member in self._members))

    @property
    def leaves(self) -> tuple[JudgeSpec, ...]:
        """Its members, those of nested panels included."""
        return tuple(leaf for member in self._members for leaf in member.leaves)

    @property
    def files(self) -> frozenset[tuple[str, Path]]:
        """Files that it and its members are made of, each with the kind of folder that it belongs to."""
        return super().files.union(*(member.files for member in self._members))

    @property
    def answer_tokens(self) -> int:
        """Longest answer of a member's model, in tokens."""
        return max(member.answer_tokens for member in self._members)

    def describe(self) -> dict[str, Any]:
        """Return plain values for a run's record."""
        return {**super().describe(), "members": [member.describe() for member in self._members]}
