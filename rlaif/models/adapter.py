"""LoRA adapters as peft saves them: what a folder's adapter is, what it belongs to, and that it fits it.

Invariant: an `Adapter` is of the one kind that engines serve, trainers continue and `merge` merges alike: a pair of
matrices on each adapted linear layer, all of one rank and scale. Any other is refused with the setting or the tensor
that makes it another kind.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rlaif.errors import UserError, first_line
from rlaif.models.model_files import quantization, read_settings
from rlaif.recipe import LoraSection

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX, _DOWN, _UP = "base_model.model.", ".lora_A.weight", ".lora_B.weight"

# Settings beside those of `_Config` that do not change what an adapter with given tensors computes. Any other
# setting that is not empty makes it an adapter of another kind, also one that a later peft brings.
_WITHOUT_EFFECT = {
    "auto_mapping", "corda_config", "ensure_weight_tying", "eva_config", "exclude_modules", "inference_mode",
    "layers_pattern", "layers_to_transform", "loftq_config", "lora_ga_config", "megatron_core", "peft_version",
    "qalora_group_size", "runtime_config", "target_modules",
}  # fmt: skip
# Initial values of the matrices; those that are not here also change the base's weights.
_OF_MATRICES_ALONE = (True, False, None, "gaussian", "eva", "orthogonal", "mica")


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter on a model.

    Attributes:
        name: as it was given: a folder or a hub id.
        folder: with its files, on this machine.
        base, base_revision: the model that it belongs to, as `resolve_model` takes it.
        lora: the settings that a training continues with.
        scale: what the product of its matrices is multiplied by.
    """

    name: str
    folder: str
    base: str
    base_revision: str | None
    lora: LoraSection
    scale: float

    @property
    def weights(self) -> Path:
        """The file with its matrices."""
        return Path(self.folder, WEIGHTS)

    @property
    def config_sha(self) -> str:
        """sha256 of its settings."""
        return hashlib.sha256(Path(self.folder, CONFIG).read_bytes()).hexdigest()


class _Config(BaseModel):
    """The settings of `adapter_config.json` that are read; all others are kept as extras."""

    model_config = ConfigDict(extra="allow")

    peft_type: str
    task_type: str | None = None
    base_model_name_or_path: str | None = None
    revision: str | None = None
    r: int = Field(ge=1, le=512)
    lora_alpha: float = Field(gt=0)
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    bias: str = "none"
    use_rslora: bool = False
    init_lora_weights: bool | str | None = True


def is_adapter(folder: str) -> bool:
    """Return whether a folder holds an adapter of any kind, and no whole model.

    Raises:
        UserError: it holds both.
    """
    if not Path(folder, CONFIG).is_file():
        return False
    # Some tools save the base's config with an adapter; weights beside the adapter's are a model's.
    others = [path.name for path in sorted(Path(folder).glob("*.safetensors")) if not path.name.startswith("adapter_")]
    if Path(folder, "config.json").is_file() and others:
        raise UserError(
            f"{folder}: a model ({others[0]}) and an adapter ({CONFIG}) in one folder; expected one of them"
        )
    return True


def read_adapter(folder: str, name: str) -> Adapter:
    """Read and check the adapter in a folder; `name` is how the person named it.

    Raises:
        UserError: it is not a LoRA adapter that engines serve, or it has no weights or no base.
    """
    path = Path(folder, CONFIG)
    config = _read_config(path)
    _check_kind(config, path)
    lora = LoraSection(rank=config.r, alpha=config.lora_alpha, dropout=config.lora_dropout, targets=_targets(folder))
    scale = config.lora_alpha / (math.sqrt(config.r) if config.use_rslora else config.r)
    return Adapter(name, folder, _base(config, path), config.revision, lora, scale)


def matrices(adapter: Adapter) -> dict[str, tuple[list[int], list[int]]]:
    """Return the shapes of the two matrices of each adapted module: [rank, inputs] and [outputs, rank].

    Raises:
        UserError: a tensor is of another kind, lacks its partner, or has another rank than the settings say.
    """
    shapes = tensor_shapes(adapter.weights)
    found = {}
    for name, shape in shapes.items():
        module = name.removeprefix(_PREFIX).removesuffix(_DOWN).removesuffix(_UP)
        partner = f"{_PREFIX}{module}{_UP if name.endswith(_DOWN) else _DOWN}"
        if not name.startswith(_PREFIX) or partner == name or partner not in shapes:
            raise UserError(f"{adapter.weights}: {name}: expected only lora_A and lora_B of linear layers, in pairs")
        if name.endswith(_DOWN):
            found[module] = shape, shapes[partner]
    rank = adapter.lora.rank
    for module, (down, up) in found.items():
        if len(down) != 2 or len(up) != 2 or (down[0], up[1]) != (rank, rank):
            raise UserError(
                f"{adapter.weights}: {module}: matrices of {down} and {up}; expected rank {rank}, as in {CONFIG}"
            )
    if not found:
        raise UserError(f"{adapter.weights}: no tensors; expected lora_A and lora_B of at least one linear layer")
    return found


def adapted_tensors(adapter: Adapter, base: str) -> dict[str, str]:
    """Return which module of an adapter adds to each tensor of the base in a folder: {tensor: module}.

    Raises:
        UserError: the adapter does not fit the base, or nothing can be added to the base's weights.
    """
    named = f"{adapter.name}: its base {adapter.base}"
    if method := quantization(read_settings(Path(base, "config.json"))):
        raise UserError(f"{named} is quantized ({method}); expected weights that can be added to")
    shapes: dict[str, list[int]] = {}
    for file in sorted(Path(base).glob("*.safetensors")):
        shapes |= tensor_shapes(file)
    if not shapes:
        raise UserError(f"{named} has no safetensors; expected weights in that format")
    found: dict[str, str] = {}
    for module, (down, up) in matrices(adapter).items():
        names = _named_like(f"{module}.weight", shapes)
        if not names:
            raise UserError(f"{adapter.name}: adapts {module}, which its base {adapter.base} does not have")
        fitting = [name for name in names if shapes[name] == [up[0], down[1]]]
        if not fitting:
            raise UserError(
                f"{adapter.name}: adapts {module} of {up[0]} x {down[1]}, but in its base {adapter.base} it has "
                f"{' x '.join(map(str, shapes[names[0]]))}; expected the model that it was trained on"
            )
        if len(fitting) > 1 or fitting[0] in found:
            others = fitting if len(fitting) > 1 else [found[fitting[0]], module]
            raise UserError(f"{named} does not say which weights are adapted: {others[0]} or {others[1]}")
        found[fitting[0]] = module
    return found


def tensor_names(module: str) -> tuple[str, str]:
    """Return the names of a module's two matrices in the file of the weights."""
    return f"{_PREFIX}{module}{_DOWN}", f"{_PREFIX}{module}{_UP}"


def tensor_shapes(file: Path) -> dict[str, list[int]]:
    """Return the shape of each tensor in a safetensors file, from its header alone."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="np") as tensors:
            return {name: list(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file}: not a safetensors file: {first_line(error)}") from None


def _named_like(wanted: str, shapes: Mapping[str, Any]) -> list[str]:
    """Return the tensors that a module's weight may be: the one of its name, or else all that end like it.

    A checkpoint may begin its names differently from the modules of its architecture.
    """
    if wanted in shapes:
        return [wanted]
    _, layers, end = wanted.partition(".layers.")
    return [name for name in shapes if layers and f".{name}".endswith(layers + end)]


def _read_config(path: Path) -> _Config:
    value = read_settings(path)
    kind = value.get("peft_type")
    if isinstance(kind, str) and kind != "LORA":
        raise UserError(f"{path}: peft_type: {kind}; expected LORA, the kind of adapter that vLLM serves")
    try:
        return _Config.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "settings"
        raise UserError(f"{path}: {field}: {first['msg']}; expected the settings that peft saves") from None


def _check_kind(config: _Config, path: Path) -> None:
    """Raise a `UserError` for an adapter that adds anything but one product of two matrices to linear layers."""
    if config.task_type not in (None, "CAUSAL_LM"):
        raise UserError(f"{path}: task_type: {config.task_type}; expected CAUSAL_LM, an adapter of a language model")
    if config.init_lora_weights not in _OF_MATRICES_ALONE:
        raise UserError(
            f"{path}: init_lora_weights: {config.init_lora_weights} changes the base's weights too; expected a plain "
            "LoRA adapter: convert it with peft's path_initial_model_for_weight_conversion"
        )
    extras: Mapping[str, Any] = {**(config.model_extra or {}), "bias": config.bias}
    for name, value in sorted(extras.items()):
        if value and value != "none" and name not in _WITHOUT_EFFECT:
            shown = json.dumps(value)
            raise UserError(
                f"{path}: {name}: {shown if len(shown) < 60 else shown[:57] + '...'}: not a plain LoRA adapter, the "
                "kind that vLLM serves; expected it unset"
            )
    if path.with_name(WEIGHTS).is_file():
        return
    if pickled := sorted(path.parent.glob("adapter_model.[bp]*")):
        raise UserError(
            f"{pickled[0]}: pickled weights, which may run code when they are read; expected {WEIGHTS}: load the "
            "adapter with peft where you trust it, and save it again"
        )
    raise UserError(f"{path.parent}: an adapter without weights; expected {WEIGHTS} beside {CONFIG}")


def _targets(folder: str) -> list[str]:
    """Return the names of the adapted modules in their layers, as `training.lora.targets` takes them."""
    names = tensor_shapes(Path(folder, WEIGHTS))
    return sorted({name.removesuffix(_DOWN).rsplit(".", 1)[-1] for name in names if name.endswith(_DOWN)})


def _base(config: _Config, path: Path) -> str:
    """Return the base as `resolve_model` takes it from any working directory."""
    field, base = f"{path}: base_model_name_or_path", config.base_model_name_or_path
    if not base:
        raise UserError(f"{field}: missing; expected the model that the adapter belongs to")
    if Path(base).is_dir():
        # As peft reads it: from the working directory.
        return str(Path(base).resolve())
    if base.startswith((".", "~")) or (base.count("/") > 1 and not base.startswith("/")):
        raise UserError(
            f"{field}: {base}: a relative path, and there is no such folder here; expected an absolute one, or a hub id"
        )
    if base.startswith("/"):
        raise UserError(f"{field}: {base}: no such folder; expected the model that the adapter belongs to")
    return base
