"""A sentence encoder of the user's: texts to vectors whose dot product says how alike the texts are.

Invariant: a text has the same vector alone and in any batch, but for rounding; order and number of vectors are those of
the texts.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rlaif.documents.bm25 import Floats
from rlaif.errors import UserError, first_line
from rlaif.models.dtype import weights_dtype
from rlaif.models.resolve import model_identity, resolve_model
from rlaif.retrieval.cut_texts import count_cut
from rlaif.retrieval.encoder_files import read_encoder_settings

BATCH_SIZE = 32


class Encoder:
    """A model that `transformers.AutoModel` loads, in this process.

    Args:
        name: a local folder or a hub id.
        batch_size: texts that are encoded at once.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; `auto` takes a GPU where there is one.

    Attributes:
        identity: names what decides the vectors: weights, pooling, prompts and length.
        longest: tokens of a text that are read; the rest does not count.
        cut: texts so far that were longer than that.

    Raises:
        UserError: there is no such model, transformers cannot load it, or it encodes in a way that is not known here.
    """

    def __init__(
        self, name: str, revision: str | None = None, *, batch_size: int = BATCH_SIZE, device: str = "auto"
    ) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        folder = resolve_model(name, revision)
        self.settings = read_encoder_settings(Path(folder), name)
        self.cut = 0
        self._batch_size = batch_size
        self._device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        dtype = weights_dtype("auto", gpu=True) if self._device.startswith("cuda") else "float32"
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            model, info = AutoModel.from_pretrained(folder, dtype=getattr(torch, dtype), output_loading_info=True)
        except (ValueError, OSError) as error:
            raise UserError(f"{name}: transformers cannot load it as an encoder: {first_line(error)}") from None
        # A pooler of its own on top is not used.
        if missing := sorted(key for key in info["missing_keys"] if not key.startswith("pooler.")):
            raise UserError(f"{name}: not an encoder: it has no weights for {', '.join(missing)}")
        if self._tokenizer.pad_token is None:
            raise UserError(f"{name}: its tokenizer has no padding; expected one of a sentence encoder")
        self._model = model.to(self._device).eval()
        self._tokenizer.padding_side = "right"
        limits = [self.settings.longest, self._tokenizer.model_max_length]
        self.longest = min([int(limit) for limit in limits if limit and limit < 10**9], default=512)
        facts = [model_identity(folder), asdict(self.settings), self.longest, dtype]
        self.identity = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]

    def queries(self, texts: Sequence[str]) -> Floats:
        """Return the vectors of queries, (texts, dimensions)."""
        return self._encode([self.settings.query_prompt + text for text in texts])

    def texts(self, texts: Sequence[str]) -> Floats:
        """Return the vectors of texts that are searched, (texts, dimensions)."""
        return self._encode([self.settings.text_prompt + text for text in texts])

    def release(self) -> None:
        """Move the weights off the GPU, which engines that start afterwards need; it works on, slower."""
        import torch

        self._model, self._device = self._model.cpu(), "cpu"
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _encode(self, texts: Sequence[str]) -> Floats:
        if self.settings.lower_case:
            texts = [text.lower() for text in texts]
        # Texts of about one length share a batch, which has little padding then.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        parts = [
            self._batch([texts[index] for index in order[start : start + self._batch_size]])
            for start in range(0, len(order), self._batch_size)
        ]
        vectors = np.concatenate(parts) if parts else np.zeros((0, self._model.config.hidden_size), np.float32)
        return vectors[np.argsort(order)] if parts else vectors

    def _batch(self, texts: Sequence[str]) -> Floats:
        import torch

        encoded = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.longest, return_tensors="pt"
        )
        self.cut += count_cut(encoded, self._tokenizer, texts, longest=self.longest)
        encoded = encoded.to(self._device)
        with torch.inference_mode():
            hidden_BTD = self._model(**encoded).last_hidden_state.float()
            pooled_BD = _pooled(hidden_BTD, encoded["attention_mask"], self.settings.pooling)
            if self.settings.normalize:
                pooled_BD = torch.nn.functional.normalize(pooled_BD, dim=-1)
        return np.asarray(pooled_BD.cpu().numpy(), np.float32)


def _pooled(hidden_BTD: Any, mask_BT: Any, pooling: str) -> Any:
    """Return one vector a text, (batch, dimensions), without what pads it."""
    if pooling == "cls_token":
        return hidden_BTD[:, 0]
    if pooling == "lasttoken":
        return hidden_BTD[range(len(hidden_BTD)), mask_BT.sum(dim=1) - 1]
    if pooling == "max_tokens":
        return hidden_BTD.masked_fill(mask_BT[:, :, None] == 0, float("-inf")).amax(dim=1)
    weights_BT1 = mask_BT[:, :, None].to(hidden_BTD.dtype)
    return (hidden_BTD * weights_BT1).sum(dim=1) / weights_BT1.sum(dim=1)
