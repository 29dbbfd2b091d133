"""The settings of a DPO training without a run; an adapter that it continues decides those of the adapter."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from rlaif.errors import UserError
from rlaif.recipe import ClusterSection, PolicySection, TrainingSection, parse_overrides
from rlaif.recipe.base import Section


class DpoSettings(Section):
    """The settings of `rlaif train --set`; each section is a recipe's."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the order, of new adapter weights and of dropout."""
    policy: PolicySection
    training: TrainingSection = TrainingSection()
    cluster: ClusterSection = ClusterSection()


def parse_settings(policy: str, overrides: Sequence[str]) -> tuple[DpoSettings, str]:
    """Return the settings for a model or an adapter, and the adapter's folder, "" for a model.

    Args:
        policy: a model, or the folder of an adapter that peft saved.
        overrides: `KEY=VALUE` each.

    Raises:
        UserError: a setting is unknown or differs from the adapter's, or the adapter does not name its model.
    """
    config = Path(policy) / "adapter_config.json"
    if not config.is_file():
        return parse_overrides(DpoSettings, overrides, {"policy": {"model": policy}}), ""
    adapter = json.loads(config.read_text())
    model = adapter.get("base_model_name_or_path")
    if not model:
        raise UserError(f"{config}: base_model_name_or_path: expected the model that the adapter belongs to")
    targets = adapter.get("target_modules") or "all-linear"
    lora: dict[str, Any] = {
        "rank": adapter["r"],
        "alpha": adapter["lora_alpha"],
        "targets": targets if isinstance(targets, str) else sorted(targets),
    }
    settings = parse_overrides(DpoSettings, overrides, {"policy": {"model": model}, "training": {"lora": lora}})
    wanted = settings.training.lora
    if wanted is None or (wanted.rank, wanted.alpha) != (lora["rank"], lora["alpha"]):
        raise UserError(
            f"--set: training.lora: {policy} is an adapter of rank {lora['rank']} and alpha {lora['alpha']:g}; "
            "leave both out to continue it"
        )
    return settings, policy
