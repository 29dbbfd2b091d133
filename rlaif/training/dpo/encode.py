"""Encodes the texts of preferences as TRL does.

Invariant: no answer is cut, and only what the assistant writes after the prompt is trained. A pair longer than the
model's context is left out and reported by its id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from rlaif.chat import Messages
from rlaif.data.preferences import Preference, Text
from rlaif.errors import UserError
from rlaif.models.chat_template import ChatTemplate
from rlaif.training.answer_tokens import answer_start, answered_ids, common_length


@dataclass(frozen=True, slots=True)
class EncodedPreferences:
    """Rows for `pairs.parquet`, and the ids of pairs left out, which have more tokens than the model's context."""

    rows: list[dict[str, Any]]
    too_long: list[str]


def encode_preferences(
    preferences: Sequence[Preference],
    tokenizer: Any,
    context: int | None,
    policy_id: str,
    *,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> EncodedPreferences:
    """Encode preferences with a policy's tokenizer.

    The chat template renders a chat; a plain text ends with the end token. The prompt ends where the ids of the prompt
    and of prompt with answer begin to differ, since a template may render a prompt's end differently once an answer
    follows. A run's sampled token ids are kept where the tokenizer gives their prompt the same ids, and their
    log-probabilities where this policy sampled them.

    Args:
        context: the policy's longest sequence, in tokens; None is unlimited.
        policy_id: id of the policy's weights.
        chat_template_kwargs: arguments of the chat template.

    Raises:
        UserError: the chat template does not take a chat, leaves out its tools, tool calls or reasoning, or would train
            turns of others; or all tokens of a prompt merge with the answers', so that
            nothing predicts their first token.
    """
    rows, too_long = [], []
    encoder = _Encoder(tokenizer, ChatTemplate(tokenizer, chat_template_kwargs))
    for preference in preferences:
        try:
            tokens = encoder.as_sampled(preference, policy_id) or encoder.as_text(preference)
        except UserError as error:
            raise UserError(f"{preference.id}: {error}") from None
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


@dataclass(frozen=True, slots=True)
class _Encoder:
    tokenizer: Any
    chat_template: ChatTemplate

    def as_sampled(self, preference: Preference, policy_id: str) -> dict[str, Any] | None:
        """Return the ids that a run sampled; None where there are none or the tokenizer writes the prompt otherwise."""
        if preference.sampled is None or self._prompt_ids(preference) != list(preference.sampled["prompt_token_ids"]):
            return None
        if preference.policy == policy_id:
            return {**preference.sampled, "policy": policy_id}
        return {**preference.sampled, "ref_chosen_logp": None, "ref_rejected_logp": None}

    def as_text(self, preference: Preference) -> dict[str, Any]:
        prompt = self._prompt_ids(preference)
        whole = [self._whole_ids(preference, answer) for answer in (preference.chosen, preference.rejected)]
        if isinstance(preference.prompt, str):
            shared = common_length(prompt, *whole)
        else:
            shared = answer_start(self.chat_template, preference.prompt, preference.tools, *whole)
        return {
            "prompt_token_ids": prompt[:shared],
            "chosen_token_ids": whole[0][shared:],
            "rejected_token_ids": whole[1][shared:],
            "ref_chosen_logp": None,
            "ref_rejected_logp": None,
        }

    def _prompt_ids(self, preference: Preference) -> list[int]:
        if isinstance(preference.prompt, str):
            return list(self.tokenizer(preference.prompt)["input_ids"])
        return self.chat_template.prompt_ids(preference.prompt, preference.tools)

    def _whole_ids(self, preference: Preference, answer: Text) -> list[int]:
        if isinstance(preference.prompt, str):
            text = str(answer)
            end = self.tokenizer.eos_token or ""
            return list(self.tokenizer(preference.prompt + (text if text.endswith(end) else text + end))["input_ids"])
        conversation = [*preference.prompt, *cast(Messages, answer)]
        return answered_ids(self.chat_template, conversation, preference.tools)
