"""What `training.lora.targets: all-linear` adapts of a model, and what it leaves as it is.

Invariant: an adapter changes the text model alone, never the tower that reads images or sound, and no weights that
engines do not adapt, such as experts and their router.
"""

import re
from dataclasses import dataclass
from typing import Any

from torch import nn

# peft refuses an adapter on these modules of these models.
_STATE_SPACE = ("falcon_h1", "falcon_mamba", "mamba", "mamba2", "nemotron_h")
_STATE_SPACE_LEFT = r".*\.(out_proj|conv1d)"


@dataclass(frozen=True, slots=True)
class LoraScope:
    """What `all-linear` means for a model, in peft's words.

    Attributes:
        targets: `all-linear`, or names of modules.
        excluded: pattern of names of modules; None excludes nothing.
        notes: a sentence for each thing that is left as it is.
    """

    targets: str | list[str]
    excluded: str | None
    notes: tuple[str, ...]

    def apply(self, config: Any) -> None:
        """Set the scope in a `peft.LoraConfig`."""
        config.target_modules, config.exclude_modules = self.targets, self.excluded


def lora_scope(model: Any) -> LoraScope:
    """Return what an adapter on all linear modules of a bare causal language model adapts."""
    patterns: list[str] = []
    notes: list[str] = []
    targets: str | list[str] = "all-linear"
    linear = _linear_modules(model)
    if towers := _towers(model, linear):
        patterns += [rf"{re.escape(tower)}(\..*)?" for tower in towers]
        notes.append(f"the adapter trains the text model; left as it is: {', '.join(towers)}")
    if model.config.model_type in _STATE_SPACE:
        patterns.append(_STATE_SPACE_LEFT)
        notes.append("the adapter leaves the out_proj of state-space layers as it is")
    if blocks := _blocks_of_experts(model):
        # peft would adapt the experts' weights under the names of the layers that they once were.
        outside = [name for name in linear if not blocks & set(name.split(".")[:-1])]
        left = re.compile("|".join(patterns) or r"(?!)")
        targets = sorted({name.rsplit(".", 1)[-1] for name in outside if not left.fullmatch(name)})
        notes.append(f"the adapter trains {', '.join(targets)}; layers with experts are left as they are")
    return LoraScope(targets, "|".join(patterns) or None, tuple(notes))


def _linear_modules(model: Any) -> list[str]:
    head = model.get_output_embeddings()
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not head]


def _towers(model: Any, linear: list[str]) -> list[str]:
    """Return the names of the modules beside the text model that have linear modules."""
    decoder = model.get_decoder()
    text = next((name for name, module in model.named_modules() if module is decoder), "")
    depth = text.count(".") + 1
    outside = (name for name in linear if text and not name.startswith(f"{text}."))
    return sorted({".".join(name.split(".")[:depth]) for name in outside})


def _blocks_of_experts(model: Any) -> set[str]:
    """Return the names that layers give to their block of experts, such as `mlp`."""
    paths = (name.split(".") for name, weight in model.named_parameters() if weight.ndim == 3)
    return {path[path.index("experts") - 1] for path in paths if "experts" in path}
