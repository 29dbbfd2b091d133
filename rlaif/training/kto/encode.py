"""Encodes ratings: the token ids of each prompt and of its rated answer.

Invariant: no answer is cut, and only what the assistant writes after the prompt is learned. A rating longer than the
model's context is left out and reported by its id.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.data.demonstrations import Demonstration
from rlaif.data.ratings import Rating
from rlaif.models.chat_template import ChatTemplate
from rlaif.training.sft.encode import encode_demonstrations


@dataclass(frozen=True, slots=True)
class EncodedRatings:
    """Rows for `ratings.parquet`, and the ids of ratings left out, which have more tokens than the model's context."""

    rows: list[dict[str, Any]]
    too_long: list[str]


def encode_ratings(
    ratings: Sequence[Rating],
    tokenizer: Any,
    chat_template: ChatTemplate,
    context: int | None,
) -> EncodedRatings:
    """Encode ratings with a policy's tokenizer, as demonstrations of one answer each.

    Args:
        ratings: of which none is of a question; see `rlaif.training.sft.encode.asked`.
        context: the policy's longest sequence, in tokens; None is unlimited.

    Raises:
        UserError: the chat template does not take a chat, leaves a part of it out, or would train turns of others.
    """
    given = [Demonstration(rating.id, rating.prompt, rating.answer, rating.tools) for rating in ratings]
    encoded = encode_demonstrations(given, tokenizer, chat_template, context)
    by_id = {rating.id: rating for rating in ratings}
    rows = []
    for sequence in encoded.sequences:
        rating, ((start, end),) = by_id[sequence.id], sequence.learned
        rows.append(
            {
                "rating_id": rating.id,
                "prompt_token_ids": list(sequence.token_ids[:start]),
                "token_ids": list(sequence.token_ids[start:end]),
                "desirable": rating.desirable,
                "score": rating.score,
                "source": rating.source,
            }
        )
    return EncodedRatings(rows, encoded.too_long)
