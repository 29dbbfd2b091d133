"""Encodes the texts of preferences as TRL does.

Invariant: no answer is cut. A pair longer than the model's context is left out and reported by its id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from rlaif.data.candidates import Preference, Text
from rlaif.errors import UserError


@dataclass(frozen=True, slots=True)
class EncodedPreferences:
    """Rows for `pairs.parquet`, and the ids of pairs left out, which have more tokens than the model's context."""

    rows: list[dict[str, Any]]
    too_long: list[str]


def encode_preferences(
    preferences: Sequence[Preference], tokenizer: Any, context: int | None, policy_id: str
) -> EncodedPreferences:
    """Encode preferences with a policy's tokenizer.

    The chat template renders a chat; a plain text ends with the end token. The prompt ends where the ids of the prompt
    and of prompt with answer begin to differ, since a template may render a prompt's end differently once an answer
    follows. A run's sampled token ids are kept where the tokenizer gives their prompt the same ids, and their
    log-probabilities where this policy sampled them.

    Args:
        context: the policy's longest sequence, in tokens; None is unlimited.
        policy_id: id of the policy's weights.

    Raises:
        UserError: all tokens of a prompt merge with the answers', so that nothing predicts their first token.
    """
    rows, too_long = [], []
    for preference in preferences:
        tokens = _as_sampled(preference, tokenizer, policy_id) or _as_text(preference, tokenizer)
        if not tokens["prompt_token_ids"]:
            raise UserError(
                f"{preference.id}: prompt: all of its tokens merge with those of the answers; "
                f"end it with a token of its own, such as a line break; got {preference.prompt!r}"
            )
        longest = max(len(tokens["chosen_token_ids"]), len(tokens["rejected_token_ids"]))
        if context is not None and len(tokens["prompt_token_ids"]) + longest > context:
            too_long.append(preference.id)
            continue
        rows.append({"pair_id": preference.id, "margin": preference.margin, "source": preference.source, **tokens})
    return EncodedPreferences(rows, too_long)


def _as_sampled(preference: Preference, tokenizer: Any, policy_id: str) -> dict[str, Any] | None:
    if preference.sampled is None or _prompt_ids(preference.prompt, tokenizer) != list(
        preference.sampled["prompt_token_ids"]
    ):
        return None
    if preference.policy == policy_id:
        return {**preference.sampled, "policy": policy_id}
    return {**preference.sampled, "ref_chosen_logp": None, "ref_rejected_logp": None}


def _as_text(preference: Preference, tokenizer: Any) -> dict[str, Any]:
    prompt = _prompt_ids(preference.prompt, tokenizer)
    whole = [_whole_ids(preference.prompt, answer, tokenizer) for answer in (preference.chosen, preference.rejected)]
    same = takewhile(lambda ids: len(set(ids)) == 1, zip(prompt, *whole, strict=False))
    shared = len(list(same))
    return {
        "prompt_token_ids": prompt[:shared],
        "chosen_token_ids": whole[0][shared:],
        "rejected_token_ids": whole[1][shared:],
        "ref_chosen_logp": None,
        "ref_rejected_logp": None,
    }


def _prompt_ids(prompt: Text, tokenizer: Any) -> list[int]:
    if isinstance(prompt, str):
        return list(tokenizer(prompt)["input_ids"])
    return _chat_ids(tokenizer, prompt, add_generation_prompt=True)


def _whole_ids(prompt: Text, answer: Text, tokenizer: Any) -> list[int]:
    if isinstance(prompt, str):
        text = str(answer)
        end = tokenizer.eos_token or ""
        return list(tokenizer(prompt + (text if text.endswith(end) else text + end))["input_ids"])
    return _chat_ids(tokenizer, [*prompt, *answer], add_generation_prompt=False)


def _chat_ids(tokenizer: Any, messages: Sequence[Any], *, add_generation_prompt: bool) -> list[int]:
    ids = tokenizer.apply_chat_template(
        list(messages), add_generation_prompt=add_generation_prompt, tokenize=True, return_dict=False
    )
    return list(ids)
