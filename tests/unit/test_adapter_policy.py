"""A training that starts from an adapter: the adapter is the initial policy, for the loss and for the reference."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rlaif.models.adapter import read_adapter
from rlaif.models.resolve import weights_id
from rlaif.recipe import LoraSection, TrainersSection, TrainingSection
from rlaif.store.policy_weights import PolicyWeights
from rlaif.store.schemas import PAIRS
from rlaif.store.shards import write_table
from rlaif.training.dpo.train import DpoResult, train_dpo
from rlaif.training.job import StartingWeights, TrainingJob, Worker
from rlaif.training.models import load_policy
from tests.adapters import save_adapter
from tests.tiny import save_chat_model

PROMPT, CHOSEN, REJECTED = [3, 6, 7, 2, 4], [8, 9, 2], [10, 2]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_chat_model(tmp_path_factory.mktemp("base"), ["what", "is", "it", "yes", "no"])


def train(folder: Path, base: str, adapter: Path, path: str = "", **changes: Any) -> DpoResult:
    folder.mkdir()
    row = dict.fromkeys(PAIRS.names) | {
        "pair_id": "p", "prompt_token_ids": PROMPT, "chosen_token_ids": CHOSEN, "rejected_token_ids": REJECTED,
    }  # fmt: skip
    write_table(str(folder / "pairs.parquet"), pa.Table.from_pylist([row], schema=PAIRS))
    settings = TrainingSection(
        learning_rate=0.01, schedule="constant", warmup=0.0, reference="initial", epochs=3,
        lora=LoraSection(rank=4, alpha=8), **changes,
    )  # fmt: skip
    start = StartingWeights(base, None, "float32", path, weights_id(path or str(adapter)), adapter=str(adapter))
    job = TrainingJob(
        start=start, rows=str(folder / "pairs.parquet"), out=str(folder / "policy"), settings=settings, seed=0,
        gpu=False, workers=TrainersSection(),
    )  # fmt: skip
    return train_dpo(job, Worker())


def logp(base: str, adapter: Path, answer: list[int]) -> float:
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), str(adapter))
    ids = torch.tensor([PROMPT + answer])
    with torch.no_grad():
        logps = model.eval()(input_ids=ids).logits[0, :-1].log_softmax(-1)
    return float(logps.gather(1, ids[0, 1:, None])[len(PROMPT) - 1 :].sum())


def reference(folder: Path) -> tuple[float, float]:
    (row,) = pq.read_table(folder / "reference.parquet").to_pylist()
    return row["ref_chosen_logp"], row["ref_rejected_logp"]


def test_a_training_continues_the_adapter_and_measures_against_it(tmp_path: Path, base: str) -> None:
    adapter = save_adapter(tmp_path / "adapter", base)
    wanted = pytest.approx([logp(base, adapter, CHOSEN), logp(base, adapter, REJECTED)], abs=1e-4)
    first = train(tmp_path / "first", base, adapter)
    assert first.log[0]["margin"] == pytest.approx(0, abs=1e-5)
    assert reference(tmp_path / "first") == wanted
    before, after = (load_file(each / "adapter_model.safetensors") for each in (adapter, tmp_path / "first" / "policy"))
    moved = max(float((after[name] - before[name]).abs().max()) for name in before)
    assert 0 < moved <= 0.01 * 3 * 1.1
    # Of a later round too the initial policy is base and adapter, neither the bare base nor what the round starts from.
    later = train(tmp_path / "later", base, adapter, str(tmp_path / "first" / "policy"))
    assert reference(tmp_path / "later") == wanted
    assert later.log[0]["margin"] > 1e-3


def test_an_engine_keeps_the_initial_adapter_beside_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    from types import SimpleNamespace

    from rlaif.inference.vllm.weights import WeightLoader

    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(SamplingParams=lambda **options: options))
    request = SimpleNamespace(LoRARequest=lambda name, number, path: SimpleNamespace(lora_int_id=number, path=path))
    monkeypatch.setitem(sys.modules, "vllm.lora.request", request)
    removed: list[int] = []
    llm = SimpleNamespace(
        llm_engine=SimpleNamespace(remove_lora=removed.append), reset_prefix_cache=lambda: True, generate=None
    )
    initial = PolicyWeights("initial", "base")
    weights = WeightLoader(llm, initial, "model", 0.02, adapter="adapter-0")
    assert weights.lora.path == "adapter-0"
    for serial in (1, 2):
        weights.load(PolicyWeights(f"policy-{serial}", "lora", "url", serial=serial), f"adapter-{serial}")
        assert (weights.lora.path, weights.initial.path) == (f"adapter-{serial}", "adapter-0")
        assert weights.lora.lora_int_id != weights.initial.lora_int_id
    assert removed == [2]
    weights.load(initial, "")
    assert weights.lora is weights.initial


@pytest.mark.parametrize("continued", [False, True])
def test_a_trained_adapter_names_the_revision_of_its_base(tmp_path: Path, base: str, continued: bool) -> None:
    path = str(save_adapter(tmp_path / "adapter", base)) if continued else ""
    start = StartingWeights("someone/model", "v1", "float32", path)
    load_policy(start, base, LoraSection(rank=4, alpha=8), gpu=False).save_pretrained(tmp_path / "trained")
    trained = read_adapter(str(tmp_path / "trained"), "trained")
    assert (trained.base, trained.base_revision) == ("someone/model", "v1")
