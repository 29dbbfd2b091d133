"""A sentence encoder and a cross-encoder small enough for a unit test: random weights, whole words as tokens."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

LONGEST = 32


def _tokenizer(folder: Path, words: Sequence[str]) -> int:
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]
    inner = Tokenizer(models.WordLevel({word: number for number, word in enumerate(names)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=LONGEST,
    ).save_pretrained(folder)  # fmt: skip
    return len(names)


def _config(vocabulary: int, **changes: Any) -> BertConfig:
    settings = {
        "vocab_size": vocabulary, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "max_position_embeddings": LONGEST, "initializer_range": 0.5,
    }  # fmt: skip
    return BertConfig(**settings | changes)


def save_encoder(folder: Path, words: Sequence[str], **files: Any) -> str:
    """Write an encoder, and files of sentence-transformers beside it, given by their names without `.json`."""
    torch.manual_seed(0)
    BertModel(_config(_tokenizer(folder, words)), add_pooling_layer=False).save_pretrained(folder)
    for name, value in files.items():
        path = folder / f"{name.replace('__', '/')}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(value), encoding="utf-8")
    return str(folder)


def save_cross_encoder(folder: Path, words: Sequence[str], outputs: int = 1) -> str:
    """Write a sequence classifier on pairs of texts."""
    torch.manual_seed(0)
    BertForSequenceClassification(_config(_tokenizer(folder, words), num_labels=outputs)).save_pretrained(folder)
    return str(folder)


def modules(*kinds: str) -> list[dict[str, Any]]:
    """Return the `modules.json` of an encoder; the pooling is in `1_Pooling`."""
    paths = {"Pooling": "1_Pooling", "Normalize": "2_Normalize", "Dense": "2_Dense"}
    return [
        {
            "idx": number,
            "name": str(number),
            "path": paths.get(kind, ""),
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, kind in enumerate(kinds)
    ]
