"""Whether and how a policy can be trained, found out before anything is sampled.

Invariant: nothing is loaded but the model's config: its architecture is built small and tried (`self_check`), in a
process of its own, since the driver imports no torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rlaif.errors import RlaifError, UserError, WorkError, first_line
from rlaif.models.builtin import BUILTIN
from rlaif.recipe import LoraSection, PolicySection


@dataclass(frozen=True, slots=True)
class PolicyCheck:
    """What was found.

    Attributes:
        error: why the policy cannot be trained; None if it can.
        notes: what a person should know of its training, a sentence each.
        rotary_limit: longest sequence with the model's usual rotary angles; None where they never change.
    """

    error: str | None = None
    notes: tuple[str, ...] = ()
    rotary_limit: int | None = None


async def confirm_policy(policy: PolicySection, lora: LoraSection | None, say: Callable[[str], None]) -> None:
    """Try a policy's architecture in a Ray task, and say how it is trained where that is not the usual way.

    Raises:
        UserError: the policy cannot be trained, or not on sequences of `policy.max_length`.
    """
    from rlaif.training.worker import run_once

    if policy.model == BUILTIN:
        return  # Its architecture never changes; the tests hold it.
    found = await run_once(partial(check_policy, policy.model, policy.revision, lora), gpu=False)
    if found.error is not None:
        raise UserError(f"{policy.model}: {found.error}")
    if found.rotary_limit is not None and policy.max_length > found.rotary_limit:
        raise UserError(
            f"policy.max_length: {policy.max_length} tokens, but {policy.model} has other rotary angles beyond "
            f"{found.rotary_limit}: vLLM then for every sequence, the trainer for longer ones alone; "
            f"expected at most {found.rotary_limit}"
        )
    for note in found.notes:
        say(f"{policy.model}: {note}")


def check_policy(model: str, revision: str | None, lora: LoraSection | None) -> PolicyCheck:
    """Build a policy's architecture small and try it on this process's CPU, with the adapter that would be trained."""
    import torch

    from rlaif.models.resolve import config_file, resolve_model
    from rlaif.models.trainable import read_config
    from rlaif.training.kernels.self_check import choose_attention, rotary_limit
    from rlaif.training.kernels.trial_model import trial_model

    cpu = torch.device("cpu")
    try:
        path = config_file(model, revision)
        config = read_config(str(Path(path).parent) if path else resolve_model(BUILTIN))
        attention = choose_attention(config, cpu)
        adapted = _adapted(trial_model(config, cpu), lora) if lora else ()
    except RlaifError as error:
        return PolicyCheck(str(error))
    unpacked = (f"trained unpacked, each answer after a prompt of its own: {attention.reason}",)
    return PolicyCheck(None, (*(unpacked if attention.reason else ()), *adapted), rotary_limit(config))


def _adapted(model: Any, lora: LoraSection) -> tuple[str, ...]:
    """Put an adapter on a small model, and return what it leaves as it is."""
    from peft import get_peft_model

    from rlaif.training.lora_scope import lora_scope
    from rlaif.training.models import lora_config

    config = lora_config(lora, "CAUSAL_LM")
    notes: tuple[str, ...] = ()
    if lora.targets == "all-linear":
        scope = lora_scope(model)
        scope.apply(config)
        notes = scope.notes
    try:
        get_peft_model(model, config)
    except ValueError as error:
        raise WorkError(f"training.lora.targets: {first_line(error)}") from None
    return notes
