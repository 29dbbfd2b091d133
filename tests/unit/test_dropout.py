"""An adapter's dropout acts in training and nowhere else; a model's own never acts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rlaif.recipe import LoraSection, TrainersSection, TrainingSection
from rlaif.training.dpo.trainer import GroupDPOTrainer
from rlaif.training.groups import Group, Pair, plan_training
from rlaif.training.job import StartingWeights, TrainingJob
from rlaif.training.models import load_policy, score_groups
from rlaif.training.trainer import pack_arguments
from tests.tiny import tiny_tokenizer

GROUPS = [Group((5, 6, 7, 8), ((9, 10, 11), (12, 13)), (Pair("p", 0, 1, -9.0, -9.0),))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model whose own attention would drop half of its weights in training."""
    folder = str(tmp_path_factory.mktemp("dropout"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        attention_dropout=0.5, initializer_range=0.3, pad_token_id=None, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def trainer_of(folder: str, lora: LoraSection | None, scratch: Path) -> Any:
    """The trainer of a worker, with the arguments that a worker gives it."""
    job = TrainingJob(
        start=StartingWeights(folder, None, "float32"), rows="", out="", settings=TrainingSection(lora=lora), seed=0,
        gpu=False, workers=TrainersSection(),
    )  # fmt: skip
    plan = plan_training(GROUPS, epochs=1, groups_per_step=1, max_tokens=64, workers=1, seed=0)
    torch.manual_seed(0)
    model = load_policy(job.start, folder, lora, gpu=False)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    return GroupDPOTrainer(
        model, args=pack_arguments(job, plan, str(scratch)), processing_class=tiny_tokenizer(), groups=GROUPS,
        plan=plan, settings=job.settings,
    )  # fmt: skip


def losses(trainer: Any) -> list[float]:
    """The loss of the same batch in training, under two seeds."""
    trainer.model.train()
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(trainer.compute_loss(trainer.model, trainer.data_collator([{"pack": 0}])).item())
    return found


def test_an_adapters_dropout_acts_in_training_and_not_in_scoring(folder: str, tmp_path: Path) -> None:
    trainer = trainer_of(folder, LoraSection(rank=4, dropout=0.5), tmp_path)
    one, other = losses(trainer)
    assert abs(one - other) > 1e-4
    scored = [score_groups(trainer.model, GROUPS, 64, gpu=False) for _ in range(2)]
    assert scored[0] == scored[1]


@pytest.mark.parametrize("lora", [None, LoraSection(rank=4)], ids=["full", "lora"])
def test_a_models_own_dropout_never_acts(folder: str, lora: LoraSection | None, tmp_path: Path) -> None:
    one, other = losses(trainer_of(folder, lora, tmp_path))
    assert one == other
