"""Rows of a round's `ratings.parquet` for ratings of people, as they were read and as token ids."""

from collections.abc import Sequence
from typing import Any

from rlaif.data.ratings import Rating
from rlaif.models.chat_template import ChatTemplate
from rlaif.models.policy_source import policy_source
from rlaif.models.shape import context_within
from rlaif.recipe import LoraSection, PolicySection
from rlaif.training.kto.encode import EncodedRatings, encode_ratings
from rlaif.training.sft.round_rows import shown_messages
from rlaif.training.standalone import sha256_of


def human_rating_rows(
    ratings: Sequence[Rating], policy: PolicySection, lora: LoraSection | None, *, round_number: int
) -> EncodedRatings:
    """Encode ratings with a policy's tokenizer.

    Args:
        ratings: of which none is of a question.

    Raises:
        UserError: the chat template does not take one of them; see `encode_ratings`.
    """
    source = policy_source(policy, lora)
    tokenizer = source.tokenizer()
    chat_template = ChatTemplate(tokenizer, policy.chat_template_kwargs)
    encoded = encode_ratings(ratings, tokenizer, chat_template, context_within(source.model, policy.max_length))
    texts = {rating.id: shown_messages(rating) for rating in ratings}
    rows: list[dict[str, Any]] = [
        {**row, **texts[row["rating_id"]], "prompt_id": row["rating_id"], "round": round_number} for row in encoded.rows
    ]
    return EncodedRatings(rows, encoded.too_long)


def ratings_sha(ratings: Sequence[Rating]) -> str:
    """Return the sha256 of what ratings hold, in their order."""
    return sha256_of(rating.content for rating in ratings)
