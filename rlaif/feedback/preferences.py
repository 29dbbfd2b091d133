"""People's preferences from a file, `feedback.preferences`: read, shared out to the rounds, and made rows of pairs.

Invariant: a round takes the share of them that it takes of the questions, and none is taken again before all others.
"""

from collections.abc import Sequence
from typing import Any

from rlaif.data.preferences import Preference, Preferences, Text, read_preferences
from rlaif.data.round_shares import round_share
from rlaif.io.column_names import ColumnNames
from rlaif.models.chat_template import check_chats
from rlaif.models.policy_source import policy_source
from rlaif.models.shape import context_within
from rlaif.preferences.pairs import pair_id
from rlaif.recipe import HumanPreferencesSection, LoraSection, PolicySection
from rlaif.training.dpo.encode import encode_preferences
from rlaif.training.standalone import sha256_of


def load_human_preferences(section: HumanPreferencesSection | None, policy: PolicySection) -> Preferences | None:
    """Return the preferences of a recipe, those of people where the file does not say otherwise; None without a file.

    Raises:
        UserError: a row is no preference, there is none, or the policy's chat template does not take a chat.
    """
    if section is None:
        return None
    read = read_preferences(section.path, ColumnNames(section.columns, "feedback.preferences.columns"), "human")
    chats = ((row.id, row.prompt) for row in read.rows if row.prompt and not isinstance(row.prompt, str))
    check_chats(policy.model, policy.revision, policy.chat_template_kwargs, chats)
    return read


def preferences_sha(preferences: Sequence[Preference]) -> str:
    """Return the sha256 of what preferences hold, in their order."""
    return sha256_of([each.id, *each.content] for each in preferences)


def round_preferences(preferences: Sequence[Preference], shares: Sequence[float], seed: int) -> list[Preference]:
    """Return the preferences of the last of some rounds.

    Args:
        shares: of the questions that each of the rounds takes, in (0, 1].
        seed: of the recipe.
    """
    sizes = [max(1, round(share * len(preferences))) for share in shares]
    return round_share(preferences, sizes, f"preferences-{seed}")


def preference_rows(
    preferences: Sequence[Preference], policy: PolicySection, lora: LoraSection | None, *, round_number: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows of `pairs.parquet` for some preferences, and the ids of those that are too long for the policy.

    `prompt_id` is the preference's own id. Their reference log-probabilities are null. Loads the policy's tokenizer.

    Raises:
        UserError: the chat template does not take a chat, and others of `encode_preferences`.
    """
    source = policy_source(policy, lora)
    longest = context_within(source.model, policy.max_length)
    kwargs = policy.chat_template_kwargs
    encoded = encode_preferences(preferences, source.tokenizer(), longest, "", chat_template_kwargs=kwargs)
    by_id = {preference.id: preference for preference in preferences}
    rows = []
    for row in encoded.rows:
        preference = by_id[row["pair_id"]]
        rows.append(
            {
                "policy": None,
                **row,
                "pair_id": pair_id("preference", round_number, preference.id),
                "prompt": _messages(preference.prompt, "user"),
                "chosen": _messages(preference.chosen, "assistant"),
                "rejected": _messages(preference.rejected, "assistant"),
                "prompt_id": preference.id,
                "round": round_number,
            }
        )
    return rows, encoded.too_long


def _messages(text: Text, role: str) -> list[dict[str, str]]:
    """Return what `pairs.parquet` shows of a side: roles and texts."""
    if isinstance(text, str):
        return [{"role": role, "content": text}]
    return [{"role": message["role"], "content": message["content"]} for message in text]
