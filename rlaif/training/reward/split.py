"""Which questions a reward model is not trained on.

Invariant: a question's pairs are all trained on or all held out; otherwise the model would be measured on questions and
answers that it has seen.
"""

import hashlib
from collections.abc import Iterable

from rlaif.errors import UserError


def held_out(questions: Iterable[str], share: float, seed: int) -> frozenset[str]:
    """Return the questions to hold out: the same for the same questions and seed, in any order.

    Args:
        questions: may repeat.
        share: of the distinct questions, in [0, 1); at least one question where it is above 0.
        seed: of the draw.

    Raises:
        UserError: no question would be left to train on.
    """
    distinct = sorted(set(questions), key=lambda text: hashlib.sha256(f"{seed}\0{text}".encode()).digest())
    count = max(1, round(share * len(distinct))) if share > 0 else 0
    if count >= len(distinct):
        raise UserError(
            f"--heldout-share {share:g}: all {len(distinct)} questions would be held out; expected fewer, or 0"
        )
    return frozenset(distinct[:count])
