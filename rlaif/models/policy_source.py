"""What the initial policy is made of: a model and, where a training continues an adapter, that adapter on it.

Invariant: an adapter that is named as the policy is continued where adapters are trained, with its own settings;
otherwise it is merged, and the policy is the merged weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.errors import UserError
from rlaif.models.adapter import Adapter
from rlaif.models.merge import tokenizer_folder
from rlaif.models.resolve import find_adapter, model_identity, resolve_adapter, resolve_model, weights_id
from rlaif.recipe import LoraSection, PolicySection

_ALL_LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@dataclass(frozen=True, slots=True)
class PolicySource:
    """The initial policy by name, for engines and trainers to load wherever they are.

    Attributes:
        model, revision: as `resolve_model` takes them; an adapter's name stands for its merged weights.
        adapter, adapter_revision: the adapter on the model, as `resolve_adapter` takes them; "" without one.
    """

    model: str
    revision: str | None
    adapter: str = ""
    adapter_revision: str | None = None

    def base_id(self) -> str:
        """Return the sha256 of the model's weights, which must be on this machine or come to it."""
        return model_identity(resolve_model(self.model, self.revision))

    def tokenizer(self) -> Any:
        """Return the policy's tokenizer; its model and adapter must be on this machine or come to it."""
        from transformers import AutoTokenizer

        adapter = resolve_adapter(self.adapter, self.adapter_revision) if self.adapter else ""
        return AutoTokenizer.from_pretrained(tokenizer_folder(resolve_model(self.model, self.revision), adapter))

    def policy_id(self) -> str:
        """Return the policy's id: the sha256 of the adapter's weights, or of the model's without one."""
        if not self.adapter:
            return self.base_id()
        return weights_id(resolve_adapter(self.adapter, self.adapter_revision))


def policy_source(policy: PolicySection, lora: LoraSection | None) -> PolicySource:
    """Return what the initial policy of some sections is made of; `lora` is None where no adapter is trained."""
    adapter = find_adapter(policy.model, policy.revision) if lora is not None else None
    if adapter is None:
        return PolicySource(policy.model, policy.revision)
    return PolicySource(adapter.base, adapter.base_revision, adapter.name, policy.revision)


def token_counts(texts: Sequence[str], policy: PolicySection, lora: LoraSection | None) -> list[int]:
    """Return the number of tokens of each text, as the policy's tokenizer counts them."""
    tokenizer = policy_source(policy, lora).tokenizer()
    return [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]


def continued_lora(lora: LoraSection, adapter: Adapter, key: str = "training.lora") -> LoraSection:
    """Return the settings with which a training continues an adapter: the adapter's own.

    Args:
        lora: what a person asks for; settings that are left out are the adapter's.

    Raises:
        UserError: a setting differs from the adapter's.
    """
    for name in sorted(lora.model_fields_set):
        wanted, own = getattr(lora, name), getattr(adapter.lora, name)
        if wanted != own and not (name == "targets" and _same_targets(wanted, own)):
            raise UserError(
                f"{key}.{name}: {wanted}, but the adapter {adapter.name} has {own}; leave it out to continue it"
            )
    return adapter.lora


def _same_targets(wanted: Any, own: Any) -> bool:
    if wanted == "all-linear":
        return set(own) >= _ALL_LINEAR
    return not isinstance(wanted, str) and set(wanted) == set(own)
