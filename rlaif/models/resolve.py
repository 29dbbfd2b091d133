"""Resolves a model's name to weights on this node's disk, and computes the id of those weights.

A model is a local directory, a hub id, or `builtin:smollm2-135m`. Each may be the name of a LoRA adapter, which stands
for its base with the adapter merged into it. Every node resolves for itself: the driver and the engines need not share
a disk.
"""

import hashlib
import os
import ssl
import urllib.error
import urllib.request
from functools import lru_cache
from pathlib import Path
from typing import Any

from rlaif.errors import UserError, first_line
from rlaif.io.files import cache_folder, new_folder
from rlaif.models.adapter import CONFIG, WEIGHTS, Adapter, adapted_tensors, is_adapter, matrices, read_adapter
from rlaif.models.builtin import BUILTIN, builtin_folder, gguf_file
from rlaif.models.merge import merge_adapter, tokenizer_folder

_ADAPTER_FILES = [CONFIG, WEIGHTS, "adapter_model.*", "token*", "special_tokens_map.json", "added_tokens.json",
                  "vocab.*", "merges.txt", "chat_template.*"]  # fmt: skip


def check_model(model: str, revision: str | None = None) -> None:
    """Check that a model exists; reads the network only for a hub id.

    Raises:
        UserError: there is no such model, or it is an adapter that cannot be served. If the hub cannot be reached, a
            hub id must be in the local cache.
    """
    if (adapter := find_adapter(model, revision)) is not None:
        _check_adapter(adapter)
    elif model.startswith("builtin:"):
        if model != BUILTIN:
            raise UserError(f"{model}: no such built-in model; expected {BUILTIN}")
        gguf_file()
    elif Path(model).is_dir():
        if not (Path(model) / "config.json").is_file():
            raise UserError(f"{model}: a directory without config.json; expected one that transformers can load")
    elif is_path(model):
        raise UserError(f"{model}: no such directory; expected a model's directory, a hub id or {BUILTIN}")
    else:
        hub_answers()  # Before the hub's client is imported.
        _hub_config(model, revision)


def find_adapter(model: str, revision: str | None = None) -> Adapter | None:
    """Return the adapter of a name, with its files on this machine; None for any other model.

    Raises:
        UserError: it is an adapter of a kind that engines do not serve.
    """
    if Path(model).is_dir():
        return read_adapter(str(Path(model).resolve()), model) if is_adapter(model) else None
    if model.startswith("builtin:") or is_path(model):
        return None
    hub_answers()
    folder = _hub_adapter(model, revision)
    return read_adapter(folder, model) if folder and is_adapter(folder) else None


def _check_adapter(adapter: Adapter) -> None:
    """Check an adapter's base, and that it fits the base where that is on this machine."""
    matrices(adapter)
    if Path(adapter.base).is_dir() and is_adapter(adapter.base):
        raise UserError(
            f"{adapter.name}: its base {adapter.base} is an adapter; expected a model: merge that one first"
        )
    check_model(adapter.base, adapter.base_revision)
    if Path(adapter.base).is_dir() or adapter.base == BUILTIN:
        adapted_tensors(adapter, resolve_model(adapter.base))


@lru_cache(maxsize=1)
def hub_answers() -> bool:
    """Return whether the hub can be reached; if not, set `HF_HUB_OFFLINE` so that hub clients use their cache alone.

    Call it before a hub client is imported: they read the variable on import. Without a network, the hub's own client
    would retry each file for half a minute.
    """
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        return False
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=3).close()
    except urllib.error.HTTPError:
        pass  # The hub answers; its client reports whether it grants access.
    except (OSError, ValueError) as error:
        # The server was reached even if its certificate cannot be verified here; the hub's client may trust it.
        if not isinstance(getattr(error, "reason", error), ssl.SSLError):
            os.environ["HF_HUB_OFFLINE"] = "1"
            return False
    return True


def is_path(model: str) -> bool:
    """Whether a model's name is the path of a directory rather than a hub id."""
    return Path(model).is_dir() or model.startswith((".", "/", "~")) or model.count("/") > 1


def resolve_model(model: str, revision: str | None = None) -> str:
    """Return a local directory with the model's weights, downloading, converting or merging them once.

    Raises:
        UserError: there is no such model, or its hub cannot be reached.
    """
    check_model(model, revision)
    if (adapter := find_adapter(model, revision)) is not None:
        return _merged_folder(adapter)
    if model == BUILTIN:
        return str(builtin_folder())
    if Path(model).is_dir():
        return str(Path(model).resolve())
    return _snapshot(model, revision, ignore_patterns=["*.bin", "*.pth", "original/*"])


def resolve_adapter(name: str, revision: str | None = None) -> str:
    """Return the local folder of an adapter, given by its folder or hub id; UserError if there is none."""
    adapter = find_adapter(name, revision)
    if adapter is None:
        raise UserError(f"{name}: no adapter; expected a folder or a hub id with {CONFIG}")
    return adapter.folder


def tokenizer_source(model: str, revision: str | None = None) -> tuple[str, str | None]:
    """Return the model and the revision whose tokenizer a policy is asked with; see `tokenizer_folder`."""
    adapter = find_adapter(model, revision)
    if adapter is None:
        return model, revision
    own = tokenizer_folder("", adapter.folder)
    return (own, None) if own else tokenizer_source(adapter.base, adapter.base_revision)


def _snapshot(model: str, revision: str | None, **patterns: Any) -> str:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return str(snapshot_download(model, revision=revision, **patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(_unreachable(model, error)) from None


def _merged_folder(adapter: Adapter) -> str:
    """Return the cached folder of an adapter merged into its base, merging it the first time."""
    base = resolve_model(adapter.base, adapter.base_revision)
    key = f"{weights_id(base)}\0{weights_id(adapter.folder)}\0{adapter.config_sha}"
    folder = cache_folder() / "merged" / hashlib.sha256(key.encode()).hexdigest()[:32]
    if not folder.is_dir():
        with new_folder(folder, shared=True) as work:
            merge_adapter(adapter, base, work)
    return str(folder)


def weights_id(folder: str) -> str:
    """Return the sha256 over the names and contents of a model's or adapter's safetensors files."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob("*.safetensors")):
        digest.update(f"{path.name}\0{file_sha256(str(path))}\n".encode())
    return digest.hexdigest()


def model_identity(model: str) -> str:
    """Return an id of a model: its name or, for a directory, the sha256 of the weights that it now holds.

    Weights are read again only when a file's time or size changes.
    """
    if not Path(model).is_dir():
        return model
    states = ((path, path.stat()) for path in sorted(Path(model).glob("*.safetensors")))
    return _weights_as_of(model, tuple((path.name, state.st_mtime_ns, state.st_size) for path, state in states))


@lru_cache(maxsize=64)
def _weights_as_of(folder: str, state: tuple[tuple[str, int, int], ...]) -> str:
    return weights_id(folder)


def file_sha256(path: str) -> str:
    """Return the sha256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def config_file(model: str, revision: str | None = None) -> str | None:
    """Return the path of a model's config.json, an adapter's base's, on this machine; None of the built-in model.

    Raises:
        UserError: there is no such model, or its hub cannot be reached.
    """
    if (adapter := find_adapter(model, revision)) is not None:
        return config_file(adapter.base, adapter.base_revision)
    if model == BUILTIN:
        return None
    return str(Path(model) / "config.json") if is_path(model) else _hub_config(model, revision)


@lru_cache(maxsize=64)
def _hub_config(model: str, revision: str | None) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return str(hf_hub_download(model, "config.json", revision=revision))
    except HFValidationError:
        raise UserError(f"{model}: neither a directory nor a hub id; expected one of these, or {BUILTIN}") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(_unreachable(model, error)) from None


@lru_cache(maxsize=64)
def _hub_adapter(model: str, revision: str | None) -> str | None:
    """Return the folder of an adapter that a hub has; None for another model, or one that cannot be reached."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        hf_hub_download(model, CONFIG, revision=revision)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError):
        return None
    return _snapshot(model, revision, allow_patterns=_ADAPTER_FILES)


def _unreachable(model: str, error: Exception) -> str:
    return f"{model}: no such model: not a directory, not in the local cache; the hub reports: {first_line(error)}"
