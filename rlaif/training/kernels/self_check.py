"""How a model attends over groups, found by trial: packed answers must score as each does alone.

Invariant: a kind is chosen only if, on this device, its log-probabilities equal those that transformers' plain
attention gives each prompt and answer by themselves. The first kind that does is taken; the last, `alone`, packs
nothing.

First a small random model of the same architecture is tried, whose windows and caps are within reach of short rows.
Then the model itself, whose type and sizes may bring other kernels.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from transformers.utils import logging

from rlaif.errors import WorkError, first_line
from rlaif.training.groups import Group
from rlaif.training.kernels.answer_head import add_answer_head
from rlaif.training.kernels.attention import Attention, AttentionKind, attention_choice, bare_model, set_attention
from rlaif.training.kernels.comparison import first_equal, plain_logps, random_groups
from rlaif.training.kernels.trial_model import trial_model

# Largest distance of packed from alone, in nats a token; a small model in float32 differs by less than 1e-5.
_TRIAL_LIMIT = 1e-3
_LIMITS = {torch.float32: 1e-2, torch.bfloat16: 0.1, torch.float16: 0.05}
# Prompts and candidates in tokens: rows beyond a block of each kind, and short ones for a model of many layers.
_LONG = ((23, (9, 4, 1)), (70, (40, 33, 2)))
_SHORT = ((7, (5, 2, 1)), (12, (6, 3)))
_PACKED: tuple[AttentionKind, ...] = ("groups", "mask", "eager")


def choose_attention(config: Any, device: torch.device, *, packed: bool = True) -> Attention:
    """Return how a model of a config attends over groups on a device; without `packed`, how it does so unpacked.

    Raises:
        WorkError: transformers cannot run the architecture, or it is no causal language model.
    """
    return _chosen(_Config(config), device, packed)


def settle_attention(model: Any, groups: Sequence[Group], *, gpu: bool, sharded: bool = False) -> Attention:
    """Try a model of `load_model` itself, with or without an adapter, and set the attention that its groups need.

    Args:
        gpu: whether the model is tried, and so moved, on this process's GPU.
        sharded: whether no GPU holds the whole model; the small model's trial must then do.

    Raises:
        WorkError: no attention is right.
    """
    device = torch.device("cuda" if gpu else "cpu")
    bare = bare_model(model)
    if not sharded:
        confirm_attention(bare.to(device))
    limit = rotary_limit(bare.config)
    longest = max((group.longest for group in groups), default=0)
    if limit is not None and longest > limit and attention_choice(bare).kind != "alone":
        alone = choose_attention(bare.config, device, packed=False)
        reason = f"a sequence of more than {limit} tokens changes the rotary angles of all tokens in its row"
        set_attention(bare, replace(alone, reason=reason))
    return attention_choice(bare)


def confirm_attention(model: Any) -> None:
    """Try a bare model itself, and set a later kind of attention where the one that it has is wrong."""
    weight = next(model.parameters())
    vocabulary = model.config.get_text_config().vocab_size
    groups = random_groups(_LONG if weight.device.type == "cuda" else _SHORT, vocabulary)
    before = attention_choice(model)
    kinds = list(_kinds(weight.device, before))
    training = model.training
    model.eval()
    with _quiet(), torch.no_grad():
        expected_C = plain_logps(model, groups)
        found = first_equal(model, groups, expected_C, kinds, _LIMITS[weight.dtype])
    if before.kind == "alone":
        # The small model's trial knows why; this one has tried nothing packed.
        set_attention(model, replace(found, reason=before.reason))
    model.train(training)


def rotary_limit(config: Any) -> int | None:
    """Return the longest sequence with a model's usual rotary angles, where longer ones change them; else None."""
    text = config.get_text_config()
    parameters = getattr(text, "rope_parameters", None) or {}
    limits = [
        each.get("original_max_position_embeddings") or text.max_position_embeddings
        for each in (parameters, *(value for value in parameters.values() if isinstance(value, dict)))
        if each.get("rope_type") in ("longrope", "dynamic")
    ]
    return min(limits, default=None)


class _Config:
    """A config as a key: equal by its content."""

    def __init__(self, config: Any) -> None:
        self.config = config
        self._json: str = config.to_json_string(use_diff=False)

    def __hash__(self) -> int:
        return hash(self._json)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Config) and self._json == other._json


@lru_cache(maxsize=8)
def _chosen(config: _Config, device: torch.device, packed: bool) -> Attention:
    with _quiet(), torch.no_grad():
        try:
            model = trial_model(config.config, device)
        except WorkError:
            raise
        except Exception as error:  # Of any kind; see `trial_model`.
            kind = config.config.model_type
            raise WorkError(f"transformers cannot run {kind} as a causal language model: {first_line(error)}") from None
        groups = random_groups(_LONG, model.config.get_text_config().vocab_size)
        expected_C = plain_logps(model, groups)
        add_answer_head(model)
        kinds = [kind for kind in _kinds(device) if packed or kind.kind == "alone"]
        return first_equal(model, groups, expected_C, kinds, _TRIAL_LIMIT)


def _kinds(device: torch.device, after: Attention | None = None) -> Iterator[Attention]:
    """The kinds in the order of their speed, from one on."""
    packed = (*(("flex",) if device.type == "cuda" else ()), *_PACKED)
    every = [*map(Attention, packed), Attention("alone", "sdpa"), Attention("alone", "eager")]
    known = [(each.kind, each.implementation) for each in every]
    yield from every[known.index((after.kind, after.implementation)) :] if after else every


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' warnings, which are about attention that is only tried."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
