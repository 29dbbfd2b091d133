"""From the texts of preferences to the token ids that are trained on, as TRL encodes them.

Invariant: no answer is cut. A pair that is longer than the model's context is left out, and its id is given back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.data.preferences import Preference, Text
from rlaif.errors import UserError


@dataclass(frozen=True, slots=True)
class Encoded:
    """Rows for `pairs.parquet`, and what did not become one.

    Attributes:
        rows: one for each preference that fits.
        too_long: ids of pairs with more tokens than the model's context.
        sampled: rows whose token ids are those that a run sampled.
    """

    rows: list[dict[str, Any]]
    too_long: list[str]
    sampled: int


def encode_preferences(
    preferences: Sequence[Preference], tokenizer: Any, context: int | None, policy_id: str
) -> Encoded:
    """Encode preferences with a policy's tokenizer.

    A chat is rendered by the chat template, a plain text ends with the end token. The prompt ends where prompt and
    prompt with answer begin to differ, since a template may render a prompt's end otherwise once an answer follows.
    Token ids that a run sampled are taken as they are where the tokenizer renders their prompt to the same ids, and
    their reference log-probabilities where this very policy sampled them.

    Args:
        preferences: of `read_preferences`.
        tokenizer: of the policy.
        context: tokens that the policy can see, None for any number.
        policy_id: id of the policy's weights.

    Raises:
        UserError: no token of a prompt stays apart from the answers, so that nothing predicts their first.
    """
    rows, too_long, sampled = [], [], 0
    for preference in preferences:
        tokens = _as_sampled(preference, tokenizer, policy_id)
        sampled += tokens is not None
        tokens = tokens or _as_text(preference, tokenizer)
        if not tokens["prompt_token_ids"]:
            raise UserError(
                f"{preference.id}: prompt: its tokens merge with those of the answers, and none is left; "
                f"expected one that ends with its last token, such as a line break, got {preference.prompt!r}"
            )
        longest = max(len(tokens["chosen_token_ids"]), len(tokens["rejected_token_ids"]))
        if context is not None and len(tokens["prompt_token_ids"]) + longest > context:
            too_long.append(preference.id)
            continue
        rows.append({"pair_id": preference.id, "margin": preference.margin, "source": preference.source, **tokens})
    return Encoded(rows, too_long, sampled)


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
    shared = min(_common(prompt, ids) for ids in whole)
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
    text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=add_generation_prompt)
    # The template writes the special tokens itself.
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _common(one: list[int], other: list[int]) -> int:
    most = min(len(one), len(other))
    return next((index for index in range(most) if one[index] != other[index]), most)
