"""The text of what a model has generated, with the marks of its thinking.

Invariant: where a tokenizer spells the marks of thinking as special tokens, which are otherwise left out of texts, an
answer keeps them; so thinking is told from the answer whatever the tokens are.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rlaif.chat import thinking_marks


class AnswerText:
    """Decodes what a model generates; for tokenizers of transformers, or vLLM's own copy of one."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        special = {
            int(id_): str(token.content)
            for id_, token in tokenizer.added_tokens_decoder.items()
            if token.special and id_ != tokenizer.eos_token_id
        }
        marks = thinking_marks(special.values())
        self._marks = {id_: text for id_, text in special.items() if text in marks}

    def of(self, token_ids: Sequence[int], decoded: str) -> str:
        """Return the text of generated tokens; `decoded` is their text without special tokens."""
        if self._marks.keys().isdisjoint(token_ids):
            return decoded
        parts = []
        for mark, tokens in groupby(token_ids, key=self._marks.get):
            several = list(tokens)
            parts.append(mark * len(several) if mark else self._tokenizer.decode(several, skip_special_tokens=True))
        return "".join(parts)
