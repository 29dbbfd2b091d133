"""Adapters as models: read, refused in one line, and merged to the weights that peft computes with."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from rlaif import api
from rlaif.cli.main import app
from rlaif.errors import UserError
from rlaif.models.adapter import adapted_tensors, read_adapter
from rlaif.models.resolve import check_model, resolve_model, weights_id
from rlaif.models.shape import model_context, model_shape
from rlaif.store.records.merge_record import MergeRecord
from tests.adapters import change_config, save_adapter
from tests.tiny import LONGEST, save_chat_model

WORDS = ["what", "is", "it", "yes", "no"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = save_chat_model(tmp_path_factory.mktemp("base"), WORDS)
    Path(folder, "generation_config.json").write_text(
        '{"eos_token_id": 2, "do_sample": true, "top_k": 7}', encoding="utf-8"
    )
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, base: str) -> Path:
    return save_adapter(tmp_path_factory.mktemp("adapter"), base)


@pytest.fixture
def adapter(tmp_path: Path, made: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(made, tmp_path / "adapter"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLAIF_CACHE", str(tmp_path / "cache"))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=torch.tensor([[3, 6, 7, 8, 2, 4]])).logits
    return found


def with_peft(base: str, adapter: Path) -> torch.Tensor:
    from peft import PeftModel

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return logits(PeftModel.from_pretrained(model, str(adapter)).eval())


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True, "r": 3}, {"target_modules": ["q_proj", "down_proj"]}])
def test_merged_weights_are_the_base_with_its_adapter(tmp_path: Path, base: str, settings: dict[str, Any]) -> None:
    adapter = save_adapter(tmp_path / "adapter", base, **settings)
    out = tmp_path / "merged"
    done = CliRunner().invoke(app, ["merge", str(adapter), "-o", str(out), "--json"])
    assert done.exit_code == 0, done.output
    model = AutoModelForCausalLM.from_pretrained(out)
    assert torch.allclose(logits(model), with_peft(base, adapter), atol=1e-5)
    assert not torch.allclose(logits(model), logits(AutoModelForCausalLM.from_pretrained(base)), atol=1e-2)
    record = MergeRecord.read(str(out / "merge.json"))
    assert record is not None
    assert (record.adapter_id, record.id) == (weights_id(str(adapter)), weights_id(str(out)))
    assert (record.base.id, record.base.model) == (weights_id(base), base)
    assert json.loads(done.stdout)["id"] == record.id
    assert json.loads((out / "generation_config.json").read_text(encoding="utf-8"))["top_k"] == 7
    chat = [{"role": "user", "content": "what"}]
    encoded = [AutoTokenizer.from_pretrained(each).apply_chat_template(chat, return_dict=False) for each in (base, out)]
    assert encoded[0] == encoded[1]


def test_the_sum_is_rounded_once_to_the_bases_type_shard_by_shard(tmp_path: Path, base: str, adapter: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(base).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "half", max_shard_size="20KB")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "half")
    change_config(adapter, base_model_name_or_path=str(tmp_path / "half"))
    api.merge(str(adapter), str(tmp_path / "merged"))
    shards = sorted(path.name for path in (tmp_path / "merged").glob("model-*.safetensors"))
    assert shards == sorted(path.name for path in (tmp_path / "half").glob("model-*.safetensors"))
    assert len(shards) > 1
    name = "model.layers.1.mlp.down_proj"
    parts = load_file(adapter / "adapter_model.safetensors")
    up, down = (parts[f"base_model.model.{name}.lora_{side}.weight"] for side in "BA")
    wanted = (model.state_dict()[f"{name}.weight"].float() + 2.0 * up @ down).bfloat16()
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="auto")
    assert torch.equal(merged.state_dict()[f"{name}.weight"], wanted)


def test_an_adapter_stands_for_its_merged_weights_which_are_made_once(adapter: Path, base: str) -> None:
    check_model(str(adapter))
    folder = resolve_model(str(adapter))
    assert torch.allclose(logits(AutoModelForCausalLM.from_pretrained(folder)), with_peft(base, adapter), atol=1e-5)
    made = {path: path.stat().st_mtime_ns for path in Path(folder).iterdir()}
    assert resolve_model(str(adapter)) == folder
    assert {path: path.stat().st_mtime_ns for path in Path(folder).iterdir()} == made
    change_config(adapter, lora_alpha=16)
    assert resolve_model(str(adapter)) != folder
    assert model_context(str(adapter)) == LONGEST
    assert model_shape(str(adapter)) == model_shape(base)


def test_an_adapters_own_tokenizer_stays_with_it(tmp_path: Path, base: str, adapter: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }} {% endfor %}"
    tokenizer.save_pretrained(adapter)
    api.merge(str(adapter), str(tmp_path / "merged"))
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template == tokenizer.chat_template


def test_an_adapter_on_a_hub(tmp_path: Path, made: Path, base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the local snapshot that a download leaves."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--someone--tuned"
    shutil.copytree(made, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit, encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    check_model("someone/tuned")
    merged = AutoModelForCausalLM.from_pretrained(resolve_model("someone/tuned"))
    assert torch.allclose(logits(merged), with_peft(base, made), atol=1e-5)
    assert api.merge("someone/tuned", str(tmp_path / "merged")).adapter == "someone/tuned"


def _without_weights(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()


def _pickled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def _beside_a_model(folder: Path) -> None:
    (folder / "config.json").write_text("{}", encoding="utf-8")
    shutil.copy(folder / "adapter_model.safetensors", folder / "model.safetensors")


def _with_tensors(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        tensors = load_file(folder / "adapter_model.safetensors")
        change(tensors)
        save_file(tensors, folder / "adapter_model.safetensors")

    return write


Q = "base_model.model.model.layers.0.self_attn.q_proj.lora_"


def _wider(tensors: dict[str, torch.Tensor]) -> None:
    tensors[f"{Q}A.weight"] = torch.zeros(4, 64)


def _of_another_rank(tensors: dict[str, torch.Tensor]) -> None:
    tensors[f"{Q}A.weight"], tensors[f"{Q}B.weight"] = torch.zeros(2, 32), torch.zeros(32, 2)


def _of_a_deeper_model(tensors: dict[str, torch.Tensor]) -> None:
    for side in "AB":
        tensors[f"{Q}{side}.weight".replace("layers.0", "layers.9")] = tensors.pop(f"{Q}{side}.weight")


def _with_an_embedding(tensors: dict[str, torch.Tensor]) -> None:
    tensors["base_model.model.model.embed_tokens.weight"] = torch.zeros(11, 32)


def _set(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: change_config(folder, **changes)


REFUSED = {
    "ia3": (_set(peft_type="IA3"), "adapter_config.json: peft_type: IA3; expected LORA"),
    "loha": (_set(peft_type="LOHA"), "peft_type: LOHA"),
    "prompt tuning": (_set(peft_type="PROMPT_TUNING"), "peft_type: PROMPT_TUNING"),
    "dora": (_set(use_dora=True), "use_dora: true"),
    "ranks": (_set(rank_pattern={"q_proj": 8}), 'rank_pattern: {"q_proj": 8}'),
    "alphas": (_set(alpha_pattern={"q_proj": 8}), "alpha_pattern"),
    "modules": (_set(modules_to_save=["lm_head"]), 'modules_to_save: ["lm_head"]'),
    "tokens": (_set(trainable_token_indices=[3]), "trainable_token_indices"),
    "bias": (_set(bias="all"), "bias"),
    "of a later peft": (_set(use_something_new=True), "use_something_new: true"),
    "pissa": (_set(init_lora_weights="pissa"), "init_lora_weights: pissa changes the base's weights"),
    "lora-ga": (_set(init_lora_weights="lora_ga"), "init_lora_weights: lora_ga changes the base's weights"),
    "classifier": (_set(task_type="SEQ_CLS"), "task_type: SEQ_CLS; expected CAUSAL_LM"),
    "no base": (_set(base_model_name_or_path=None), "base_model_name_or_path: missing"),
    "relative base": (_set(base_model_name_or_path="../base"), "base_model_name_or_path: ../base: a relative path"),
    "lost base": (_set(base_model_name_or_path="/lost/base"), "/lost/base: no such folder"),
    "no rank": (_set(r=None), "r: Input should be a valid integer"),
    "rank": (_set(r=1024), "r: Input should be less than or equal to 512"),
    "other rank": (_with_tensors(_of_another_rank), "expected rank 4, as in adapter_config.json"),
    "other width": (_with_tensors(_wider), "q_proj of 32 x 64, but in its base"),
    "other depth": (_with_tensors(_of_a_deeper_model), "layers.9.self_attn.q_proj, which its base"),
    "embedding": (_with_tensors(_with_an_embedding), "embed_tokens.weight: expected only lora_A and lora_B"),
    "no weights": (_without_weights, "an adapter without weights; expected adapter_model.safetensors"),
    "pickled": (_pickled, "adapter_model.bin: pickled weights"),
    "both": (_beside_a_model, "a model (model.safetensors) and an adapter (adapter_config.json) in one folder"),
    "no json": (lambda folder: (folder / "adapter_config.json").write_text("{"), "adapter_config.json: not JSON"),
    "no tensors": (
        lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"x"),
        "adapter_model.safetensors: not a safetensors file",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_another_kind_of_adapter_is_one_line(
    name: str, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What lies beside the working directory is nobody's base.
    monkeypatch.chdir(tmp_path)
    change, says = REFUSED[name]
    change(adapter)
    with pytest.raises(UserError, match=r"^[^\n]+$") as error:
        check_model(str(adapter))
    assert says in str(error.value)
    done = CliRunner().invoke(app, ["merge", str(adapter), "-o", str(tmp_path / "out")])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
    assert says in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_base_config_beside_an_adapter_is_no_model(adapter: Path, base: str) -> None:
    shutil.copy(Path(base, "config.json"), adapter)
    check_model(str(adapter))


def test_a_base_that_is_an_adapter_is_one_line(adapter: Path, made: Path) -> None:
    change_config(adapter, base_model_name_or_path=str(made))
    with pytest.raises(UserError, match="is an adapter; expected a model"):
        check_model(str(adapter))


def with_base_tensors(folder: Path, base: str, names: Callable[[str], list[str]]) -> str:
    """Copy a base whose tensors are saved under other names, and return its folder."""
    shutil.copytree(base, folder)
    tensors = load_file(folder / "model.safetensors")
    renamed = {new: tensor.clone() for name, tensor in tensors.items() for new in names(name)}
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


def test_an_adapter_finds_the_tensors_of_a_base_with_other_beginnings(tmp_path: Path, base: str, made: Path) -> None:
    for number, beginning in enumerate(("", "language_model.model.")):
        folder = with_base_tensors(
            tmp_path / str(number), base, lambda name, new=beginning: [name.replace("model.", new, 1)]
        )
        found = adapted_tensors(read_adapter(str(made), "mine"), folder)
        assert found[f"{beginning}layers.0.self_attn.q_proj.weight"] == "model.layers.0.self_attn.q_proj"
        assert len(found) == 14


def test_an_adapter_that_may_belong_to_two_tensors_is_one_line(tmp_path: Path, base: str, adapter: Path) -> None:
    towers = ["text.", "vision."]
    folder = with_base_tensors(
        tmp_path / "base", base, lambda name: [name.replace("model.", tower, 1) for tower in towers]
    )
    change_config(adapter, base_model_name_or_path=folder)
    with pytest.raises(UserError, match=r"does not say which weights are adapted: (text|vision)\.layers[^\n]+$"):
        check_model(str(adapter))


def test_two_modules_on_one_tensor_of_the_base_are_one_line(tmp_path: Path, base: str, adapter: Path) -> None:
    tensors = load_file(adapter / "adapter_model.safetensors")
    tensors |= {name.replace(".layers.", ".tower.layers."): tensor.clone() for name, tensor in tensors.items()}
    save_file(tensors, adapter / "adapter_model.safetensors")
    with pytest.raises(UserError, match=r"does not say which weights are adapted: model\.[^\n]+$"):
        check_model(str(adapter))


def test_a_base_that_nothing_can_be_added_to_is_one_line(tmp_path: Path, base: str, adapter: Path) -> None:
    folder = Path(shutil.copytree(base, tmp_path / "base"))
    change_config(adapter, base_model_name_or_path=str(folder))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    quantized = {"text_config": {"quantization_config": {"quant_method": "bitsandbytes"}}}
    for written, says in (
        (json.dumps(config | quantized), r"is quantized \(bitsandbytes\); expected weights that can be added to"),
        ("{", "config.json: not JSON"),
        ("[]", "config.json: not a JSON object"),
    ):
        (folder / "config.json").write_text(written, encoding="utf-8")
        with pytest.raises(UserError, match=says):
            check_model(str(adapter))
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="has no safetensors; expected weights in that format"):
        check_model(str(adapter))


def test_the_settings_to_continue_with_are_the_adapters(adapter: Path) -> None:
    lora = read_adapter(str(adapter), "mine").lora
    assert (lora.rank, lora.alpha, lora.dropout) == (4, 8, 0)
    assert lora.targets == sorted(["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])


def test_nothing_is_merged_over_a_folder_or_from_whole_weights(tmp_path: Path, adapter: Path, base: str) -> None:
    (tmp_path / "there").mkdir()
    for arguments, says in (
        ([str(adapter), "-o", str(tmp_path / "there")], "already exists"),
        ([base, "-o", str(tmp_path / "out")], "whole weights, which transformers and vLLM load"),
        (["nothing", "-o", str(tmp_path / "out"), "--runs", str(tmp_path)], "no run there"),
    ):
        done = CliRunner().invoke(app, ["merge", *arguments])
        assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
        assert says in done.stderr
