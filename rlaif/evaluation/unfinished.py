"""Says when many answers end within their thinking: they are cut before the answer begins."""

from collections.abc import Iterable

from rlaif.chat import visible_answer

_MANY = 0.1


def unfinished_line(answers: Iterable[str], max_tokens: int, key: str) -> str | None:
    """Return the line that counts the answers that end within their thinking, and what to do; None if few do.

    Args:
        key: the setting that holds `max_tokens`.
    """
    unfinished = [visible_answer(answer) is None for answer in answers]
    if not unfinished or sum(unfinished) < _MANY * len(unfinished):
        return None
    return (
        f"{sum(unfinished):,} of {len(unfinished):,} answers end within their thinking, so nothing of them is judged; "
        f"raise {key} ({max_tokens:,}), or turn the thinking off by policy.chat_template_kwargs"
    )
