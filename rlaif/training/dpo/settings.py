"""The settings of a DPO training without a run, and the adapter that it may continue."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from rlaif.errors import UserError
from rlaif.recipe import ClusterSection, LoraSection, PolicySection, TrainingSection, parse_overrides
from rlaif.recipe.base import Section


class DpoSettings(Section):
    """The settings of `rlaif train --set`; each section is a recipe's."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the order, of new adapter weights and of dropout."""
    policy: PolicySection
    training: TrainingSection = TrainingSection()
    cluster: ClusterSection = ClusterSection()


@dataclass(frozen=True, slots=True)
class AdapterFolder:
    """An adapter that peft saved.

    Attributes:
        path: its folder.
        base: the model that it belongs to.
        lora: its shape.
    """

    path: str
    base: str
    lora: LoraSection


def find_adapter(policy: str) -> AdapterFolder | None:
    """Return the adapter in a folder, or None if `policy` names a model.

    Raises:
        UserError: the adapter does not name its model.
    """
    config = Path(policy) / "adapter_config.json"
    if not config.is_file():
        return None
    value = json.loads(config.read_text())
    base = value.get("base_model_name_or_path")
    if not base:
        raise UserError(f"{config}: base_model_name_or_path: expected the model that the adapter belongs to")
    targets = value.get("target_modules") or "all-linear"
    lora = LoraSection(
        rank=value["r"], alpha=value["lora_alpha"], targets=targets if isinstance(targets, str) else sorted(targets)
    )
    return AdapterFolder(policy, base, lora)


def parse_settings(model: str, adapter: AdapterFolder | None, overrides: Sequence[str]) -> DpoSettings:
    """Return the settings for a model or for an adapter to continue.

    Raises:
        UserError: a setting is unknown, or differs from the adapter's.
    """
    given: dict[str, Any] = {"policy": {"model": model}}
    if adapter is not None:
        given["training"] = {"lora": adapter.lora.model_dump(exclude={"dropout"})}
    settings = parse_overrides(DpoSettings, overrides, given)
    lora = settings.training.lora
    if adapter is not None and (lora is None or (lora.rank, lora.alpha) != (adapter.lora.rank, adapter.lora.alpha)):
        raise UserError(
            f"--set: training.lora: {adapter.path} is an adapter of rank {adapter.lora.rank} and alpha "
            f"{adapter.lora.alpha:g}; leave both out to continue it"
        )
    return settings
