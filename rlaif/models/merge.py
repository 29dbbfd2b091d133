"""Adapters merged into the weights of their base: W + scale * B @ A, for each adapted tensor.

Invariant: the sum is computed in float32 and rounded once, to the base's own type. Every other tensor, the shards and
the files of the base are copied as they are; the adapter's own tokenizer replaces the base's.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlaif.errors import UserError, WorkError
from rlaif.io.files import full_disk_named
from rlaif.models.adapter import Adapter, adapted_tensors, tensor_names

# Of these a tokenizer consists; an adapter that brings one was trained with it.
_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "chat_template.jinja", "chat_template.json", "spiece.model",
)  # fmt: skip
_WEIGHTS = (".safetensors", ".bin", ".pth", ".pt", ".gguf", ".h5", ".msgpack", ".onnx")


def tokenizer_folder(base: str, adapter: str = "") -> str:
    """Return the folder whose tokenizer a policy is asked with: the adapter's own where it brings one."""
    return adapter if adapter and Path(adapter, "tokenizer_config.json").is_file() else base


def merge_adapter(adapter: Adapter, base: str, out: Path) -> None:
    """Write an adapter merged into its base, from a local folder, into an empty folder.

    Raises:
        UserError: the adapter does not fit the base, or the disk has no room.
    """
    from safetensors import safe_open

    modules = adapted_tensors(adapter, base)
    shards = sorted(Path(base).glob("*.safetensors"))
    _check_room(shards, out)
    for file in _files_beside_weights(Path(base)):
        shutil.copyfile(file, out / file.name)
    own = Path(tokenizer_folder(base, adapter.folder))
    if own != Path(base):
        for name in _TOKENIZER:
            (out / name).unlink(missing_ok=True)
            if (own / name).is_file():
                shutil.copyfile(own / name, out / name)
    with safe_open(adapter.weights, framework="pt") as added, full_disk_named(str(out)):
        for shard in shards:
            _merge_shard(shard, out / shard.name, added, modules, adapter.scale)


def _merge_shard(shard: Path, out: Path, added: Any, modules: dict[str, str], scale: float) -> None:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file

    with safe_open(shard, framework="pt") as tensors:
        merged = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118
        metadata = tensors.metadata()
    for name in merged.keys() & modules.keys():
        down, up = (added.get_tensor(part).float() for part in tensor_names(modules[name]))
        weight = merged[name]
        merged[name] = (weight.float() + scale * (up @ down)).to(weight.dtype)
    try:
        save_file(merged, out, metadata=metadata or {"format": "pt"})
    except SafetensorError as error:
        raise WorkError(f"{out}: could not be written: {error}") from None


def _files_beside_weights(base: Path) -> Iterator[Path]:
    """Yield a model's files that are no weights: its config, tokenizer, chat template and index of shards."""
    for file in sorted(base.iterdir()):
        if file.is_file() and file.suffix not in _WEIGHTS and not file.name.startswith("."):
            yield file


def _check_room(shards: list[Path], out: Path) -> None:
    size, free = sum(shard.stat().st_size for shard in shards), shutil.disk_usage(out).free
    if size > free:
        raise UserError(f"{out}: the merged weights take {size >> 20} MiB, and {free >> 20} MiB are free on its disk")
