"""Groups: a prompt with its candidates and the preferences among them.

Invariant: the token ids are those that were sampled; nothing here decodes or encodes text. Every row of `pairs.parquet`
is one pair of exactly one group.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Pair:
    """One preference between two candidates of a group, by index.

    Attributes:
        id: the pair's id, for messages.
        chosen, rejected: indices into the group's candidates.
        ref_chosen_logp, ref_rejected_logp: summed log-probability of each under the reference policy, in nats; NaN
            until it is computed.
        weight: of its loss among the pairs of its step.
    """

    id: str
    chosen: int
    rejected: int
    ref_chosen_logp: float
    ref_rejected_logp: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Group:
    """A prompt, its distinct candidates, and the preferences among them, all as sampled token ids.

    Attributes:
        prompt_token_ids: the prompt.
        candidates: distinct answers to it.
        pairs: preferences among them.
        policy: id of the policy that sampled them, "" if unknown.
    """

    prompt_token_ids: tuple[int, ...]
    candidates: tuple[tuple[int, ...], ...]
    pairs: tuple[Pair, ...]
    policy: str = ""

    @property
    def tokens(self) -> int:
        """Tokens of a forward pass: the prompt once, each candidate without its last token."""
        return len(self.prompt_token_ids) + sum(max(len(candidate) - 1, 0) for candidate in self.candidates)


def group_pairs(
    rows: Iterable[Mapping[str, Any]], weight: Callable[[Mapping[str, Any]], float] | None = None
) -> list[Group]:
    """Gather rows of `pairs.parquet` into groups of equal prompt tokens and one policy, in order of first appearance.

    Args:
        rows: with `pair_id`, the three `..._token_ids`, the two `ref_..._logp` and `policy`, which may be null.
        weight: returns a row's weight; None weighs all rows equally.
    """
    prompts: dict[tuple[tuple[int, ...], str], tuple[dict[tuple[int, ...], int], list[Pair]]] = {}
    for row in rows:
        key = (tuple(row["prompt_token_ids"]), row.get("policy") or "")
        candidates, pairs = prompts.setdefault(key, ({}, []))
        chosen = candidates.setdefault(tuple(row["chosen_token_ids"]), len(candidates))
        rejected = candidates.setdefault(tuple(row["rejected_token_ids"]), len(candidates))
        of_chosen, of_rejected = (
            math.nan if row[name] is None else row[name] for name in ("ref_chosen_logp", "ref_rejected_logp")
        )
        pairs.append(Pair(row["pair_id"], chosen, rejected, of_chosen, of_rejected, weight(row) if weight else 1.0))
    return [
        Group(prompt, tuple(candidates), tuple(pairs), policy)
        for (prompt, policy), (candidates, pairs) in prompts.items()
    ]


def with_reference(group: Group, logps: Sequence[float]) -> Group:
    """Return the group with its candidates' log-probabilities, in nats, as the references of its pairs."""
    pairs = tuple(
        replace(pair, ref_chosen_logp=logps[pair.chosen], ref_rejected_logp=logps[pair.rejected])
        for pair in group.pairs
    )
    return replace(group, pairs=pairs)
