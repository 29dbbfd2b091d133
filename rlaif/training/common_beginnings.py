"""Groups sequences by their common beginnings, so that a document or a system text is computed once for all of them.

Invariant: each sequence is in one group, and its tokens are the group's prompt and one of its candidates, in order; no
learned token is in a prompt.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import Protocol

from rlaif.training.groups import Group, Span


class Learned(Protocol):
    """A sequence of which some tokens are learned; the first token never is, since nothing predicts it."""

    @property
    def id(self) -> str: ...

    @property
    def token_ids(self) -> tuple[int, ...]: ...

    @property
    def learned(self) -> tuple[Span, ...]: ...


def group_by_beginning(sequences: Sequence[Learned], *, most: int, max_tokens: int) -> list[Group]:
    """Return groups of sequences, each with the beginning that all of its sequences share as its prompt.

    Sequences are taken in the order of their tokens, and one joins the group before it if that saves more tokens than a
    shorter prompt costs the others.

    Args:
        most: sequences in a group. Those of one group are in one optimizer step, so it bounds how alike a step can be.
        max_tokens: of a group of several sequences, so that it fits a pack.
    """
    groups: list[_Gathered] = []
    for sequence in sorted(sequences, key=lambda sequence: (sequence.token_ids, sequence.learned)):
        if not (groups and groups[-1].take(sequence, most, max_tokens)):
            groups.append(_Gathered(sequence))
    return [gathered.group() for gathered in groups]


class _Gathered:
    """Sequences of one group, so far."""

    def __init__(self, first: Learned) -> None:
        self._members = [first]
        self._prompt = first.learned[0][0]

    def take(self, sequence: Learned, most: int, max_tokens: int) -> bool:
        """Add a sequence if it belongs here, and return whether it does."""
        first = self._members[0].token_ids[: self._prompt]
        pairs = zip(first, sequence.token_ids[: sequence.learned[0][0]], strict=False)
        shared = len(list(takewhile(lambda ids: ids[0] == ids[1], pairs)))
        lost = (self._prompt - shared) * (len(self._members) - 1)
        members = [*self._members, sequence]
        tokens = shared + sum(len(member.token_ids) - shared for member in members)
        if shared <= lost or len(members) > most or tokens > max_tokens:
            return False
        self._members, self._prompt = members, shared
        return True

    def group(self) -> Group:
        begin = self._prompt
        return Group(
            prompt_token_ids=self._members[0].token_ids[:begin],
            candidates=tuple(member.token_ids[begin:] for member in self._members),
            pairs=(),
            learned=tuple(
                tuple((start - begin, end - begin) for start, end in member.learned) for member in self._members
            ),
            ids=tuple(member.id for member in self._members),
        )
