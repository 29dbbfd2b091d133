"""Every model family is trained exactly: log-probabilities and gradients are those of each answer by itself."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from rlaif.recipe import LoraSection
from rlaif.training.groups import Group
from rlaif.training.kernels.attention import attention_choice
from rlaif.training.kernels.comparison import plain_logps, random_groups
from rlaif.training.kernels.cpu_layers import use_cpu_layers
from rlaif.training.kernels.self_check import settle_attention
from rlaif.training.lora_scope import lora_scope
from rlaif.training.models import load_model, lora_config
from rlaif.training.shared_prompt import candidate_logps, pack_row
from tests.families import FAMILIES, WINDOW, Family

PAGE = Path(__file__).parents[2] / "docs" / "models.md"

# Some beyond windows and blocks, some within.
GROUPS = random_groups([(30, (14, 5, 1)), (4, (7, 3)), (20, (9, 25))])
WEIGHTS = torch.tensor([1.0, -2.0, 0.5, 1.5, -1.0, 0.7, -0.3])


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlaif.training.kernels.layout._QUERY_BLOCK", 24)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Writes a family's tiny model with random weights, and returns its folder."""
    folders: dict[str, str] = {}

    def save(family: Family) -> str:
        if family.name not in folders:
            folder = tmp_path_factory.mktemp("family")
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(family.config(), dtype=torch.float32)
            with torch.no_grad():
                for weight in model.parameters():
                    # Larger than usual, so that log-probabilities differ by nats and not by rounding.
                    weight.normal_(0.0, 1.5 * weight.shape[-1] ** -0.5) if weight.ndim > 1 else weight.add_(0.1)
            model.save_pretrained(folder)
            folders[family.name] = str(folder)
        return folders[family.name]

    return save


def expected(folder: str, groups: list[Group]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Log-probabilities and gradients of an untouched model, one sequence at a time."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    logps = plain_logps(model, groups)
    (logps * WEIGHTS).sum().backward()
    return logps.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def trained(model: Any, groups: list[Group]) -> torch.Tensor:
    model.train()
    logps = candidate_logps(model, pack_row(groups), attention_choice(model).kind)
    (logps * WEIGHTS).sum().backward()
    return logps.detach()


def assert_same_gradients(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        assert float((ours[name] - gradient).abs().max()) < 1e-4 * largest, name


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_is_trained_exactly(family: Family, saved: Any) -> None:
    folder = saved(family)
    logps, gradients = expected(folder, GROUPS)
    model = load_model(folder, "float32")
    attention = settle_attention(model, GROUPS, gpu=False)
    assert attention.kind == family.attention
    assert bool(attention.reason) == (family.attention == "alone")
    use_cpu_layers(model)
    found = trained(model, GROUPS)
    torch.testing.assert_close(found, logps, atol=1e-4, rtol=1e-5)
    assert_same_gradients({n: p.grad for n, p in model.named_parameters() if p.grad is not None}, gradients)


@pytest.mark.parametrize("name", ["Gemma 3", "gpt-oss", "Falcon-H1", "Qwen3-MoE"])
def test_an_adapter_is_trained_exactly_with_gradient_checkpointing(name: str, saved: Any) -> None:
    from peft import get_peft_model

    folder = saved(next(family for family in FAMILIES if family.name == name))
    config = lora_config(LoraSection(rank=2, dropout=0.0), "CAUSAL_LM")

    def adapted(model: Any) -> Any:
        torch.manual_seed(1)
        lora_scope(model).apply(config)
        model = get_peft_model(model, config)
        with torch.no_grad():
            for part, weight in model.named_parameters():
                if "lora_B" in part:
                    weight.normal_(0.0, 0.3)
        return model

    plain = adapted(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32))
    logps = plain_logps(plain, GROUPS)
    (logps * WEIGHTS).sum().backward()
    model = adapted(load_model(folder, "float32"))
    settle_attention(model, GROUPS, gpu=False)
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable()
    found = trained(model, GROUPS)
    torch.testing.assert_close(found, logps.detach(), atol=1e-4, rtol=1e-5)
    gradients = [{n: p.grad for n, p in each.named_parameters() if p.grad is not None} for each in (model, plain)]
    assert gradients[0]
    assert_same_gradients(*gradients)


def test_the_page_of_models_shows_the_families(saved: Any) -> None:
    """With RLAIF_WRITE_DOCS the table is written; else it is compared."""
    head = "family", "`model_type`", "trained", "window", "`all-linear` adapts", "with vLLM"
    rows = [_row(family, saved(family)) for family in FAMILIES]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    table = "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])
    text = PAGE.read_text(encoding="utf-8")
    part = re.compile(r"(?<=<!-- families -->\n).*?(?=\n<!-- end -->)", re.S)
    filled = part.sub(lambda _: f"\n{table}\n", text)
    if os.environ.get("RLAIF_WRITE_DOCS"):
        PAGE.write_text(filled, encoding="utf-8")
    assert text == filled, "RLAIF_WRITE_DOCS=1 pytest tests/integration/test_model_families.py writes the table"


def _row(family: Family, folder: str) -> tuple[str, ...]:
    from peft import get_peft_model

    model = AutoModelForCausalLM.from_pretrained(folder)
    window = any(getattr(model.config, name, None) == WINDOW for name in ("sliding_window", "attention_window_size"))
    config = lora_config(LoraSection(rank=2), "CAUSAL_LM")
    scope = lora_scope(model)
    scope.apply(config)
    adapted = get_peft_model(model, config)
    names = {name.split(".lora_A")[0].rsplit(".", 1)[-1] for name, _ in adapted.named_parameters() if "lora_A" in name}
    experts = "; not the experts" if any("experts" in note for note in scope.notes) else ""
    return (
        family.name,
        f"`{family.model_type}`",
        f"unpacked: {family.why}" if family.attention == "alone" else f"packed (`{family.attention}`)",
        "yes" if window else "",
        ", ".join(f"`{name}`" for name in sorted(names)) + experts,
        "tested" if family.engine else "not tested",
    )
