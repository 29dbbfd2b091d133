"""Preference pairs gathered by their prompt: the unit that is trained on.

Invariant: the token ids are those that were sampled. Nothing here decodes or encodes text, and no pair is lost:
every row of `pairs.parquet` is one pair of exactly one group.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Pair:
    """One preference between two candidates of a group, by index.

    Attributes:
        id: the pair's id, for messages.
        chosen, rejected: indices into the group's candidates.
        ref_chosen_logp, ref_rejected_logp: summed log-probability of each under the reference model, in nats.
    """

    id: str
    chosen: int
    rejected: int
    ref_chosen_logp: float
    ref_rejected_logp: float


@dataclass(frozen=True, slots=True)
class Group:
    """A prompt, its distinct candidates, and the preferences among them, all as sampled token ids."""

    prompt_token_ids: tuple[int, ...]
    candidates: tuple[tuple[int, ...], ...]
    pairs: tuple[Pair, ...]

    @property
    def tokens(self) -> int:
        """Tokens of the group when the prompt stands once."""
        return len(self.prompt_token_ids) + sum(len(candidate) for candidate in self.candidates)


def group_pairs(rows: Iterable[Mapping[str, Any]]) -> list[Group]:
    """Gather rows of `pairs.parquet` into groups of equal prompt tokens, in the order of first appearance."""
    prompts: dict[tuple[int, ...], tuple[dict[tuple[int, ...], int], list[Pair]]] = {}
    for row in rows:
        candidates, pairs = prompts.setdefault(tuple(row["prompt_token_ids"]), ({}, []))
        chosen = candidates.setdefault(tuple(row["chosen_token_ids"]), len(candidates))
        rejected = candidates.setdefault(tuple(row["rejected_token_ids"]), len(candidates))
        pairs.append(Pair(row["pair_id"], chosen, rejected, row["ref_chosen_logp"], row["ref_rejected_logp"]))
    return [Group(prompt, tuple(candidates), tuple(pairs)) for prompt, (candidates, pairs) in prompts.items()]
