"""Reranking by a sequence classifier that reads the query and a chunk together: a cross-encoder."""

from collections.abc import Sequence
from typing import Any

from rlaif.documents.document import Chunk
from rlaif.errors import UserError, first_line
from rlaif.models.dtype import weights_dtype
from rlaif.models.resolve import resolve_model
from rlaif.retrieval.cut_texts import count_cut


class ClassifierReranker:
    """A cross-encoder: an `AutoModelForSequenceClassification` with one output, on a query and a chunk.

    Args:
        name: a local folder or a hub id.
        batch_size: chunks that are scored at once.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Attributes:
        cut: how often a chunk was longer than the model takes, and was read without its end.

    Raises:
        UserError: there is no such model, or it is no classifier with one output.
    """

    def __init__(self, name: str, *, batch_size: int = 16, device: str = "auto") -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        folder = resolve_model(name)
        self.cut = 0
        self._batch_size = batch_size
        self._device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        dtype = weights_dtype("auto", gpu=True) if self._device.startswith("cuda") else "float32"
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            model, info = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=getattr(torch, dtype), output_loading_info=True
            )
        except (ValueError, OSError) as error:
            reason = first_line(error)
            raise UserError(f"{name}: transformers cannot load it as a sequence classifier: {reason}") from None
        if missing := info["missing_keys"]:
            # transformers fills them with random numbers and only warns.
            raise UserError(f"{name}: not a reranker: it has no weights for {', '.join(sorted(missing))}")
        if model.config.num_labels != 1:
            raise UserError(f"{name}: {model.config.num_labels} outputs; expected a reranker with one")
        if self._tokenizer.pad_token is None:
            raise UserError(f"{name}: its tokenizer has no padding; expected one of a reranker")
        model.config.pad_token_id = self._tokenizer.pad_token_id
        self._model = model.to(self._device).eval()
        limits = [
            self._tokenizer.model_max_length,
            getattr(model.config.get_text_config(), "max_position_embeddings", None),
        ]
        self._longest = min(int(limit) for limit in limits if limit)

    def release(self) -> None:
        """Move the weights off the GPU, which engines that start afterwards need; it works on, slower."""
        import torch

        self._model, self._device = self._model.cpu(), "cpu"
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def scores(self, query: str, chunks: Sequence[Chunk]) -> list[float | None]:
        """See `Reranker`. A chunk that is longer than the model takes is cut at its end, and counted."""
        import torch

        found: list[float | None] = []
        for start in range(0, len(chunks), self._batch_size):
            texts = [chunk.text for chunk in chunks[start : start + self._batch_size]]
            encoded = self._tokenizer(
                [query] * len(texts), texts, padding=True, truncation="only_second", max_length=self._longest,
                return_tensors="pt",
            )  # fmt: skip
            self.cut += count_cut(encoded, self._tokenizer, [query] * len(texts), texts, longest=self._longest)
            encoded = encoded.to(self._device)
            with torch.inference_mode():
                found += self._model(**encoded).logits[:, 0].float().tolist()
        return found
