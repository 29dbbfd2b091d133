"""A plan's exact parameter counts, its memory against real tensors, and errors that name the setting."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import pytest

from rlaif.data.demonstrations import read_demonstrations
from rlaif.errors import UserError
from rlaif.models.shape import ModelShape, model_shape, published_shape
from rlaif.planning import tokens
from rlaif.planning.duration import passes_without_gradients
from rlaif.planning.hardware import HardwareOptions
from rlaif.planning.memory import Memory, activation_bytes_per_token, engine_memory, kv_bytes_per_token, trainer_memory
from rlaif.planning.plan import Plan, PlanOptions, make_plan
from rlaif.recipe import LoraSection, TrainersSection, TrainingSection, load_recipe
from rlaif.rounds.setup import prepare

LLAMA = published_shape("meta-llama/Llama-3.1-8B-Instruct", "offline")

# As the publishers' own safetensors files count them.
PARAMETERS = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
    "HuggingFaceTB/SmolLM2-360M-Instruct": 361_821_120,
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": 1_711_376_384,
    "meta-llama/Llama-3.2-1B-Instruct": 1_235_814_400,
    "meta-llama/Llama-3.2-3B-Instruct": 3_212_749_824,
    "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
    "meta-llama/Llama-3.1-70B-Instruct": 70_553_706_496,
    "mistralai/Mistral-7B-Instruct-v0.3": 7_248_023_552,
    "Qwen/Qwen2.5-0.5B-Instruct": 494_032_768,
    "Qwen/Qwen2.5-1.5B-Instruct": 1_543_714_304,
    "Qwen/Qwen2.5-3B-Instruct": 3_085_938_688,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen/Qwen2.5-14B-Instruct": 14_770_033_664,
    "Qwen/Qwen2.5-32B-Instruct": 32_763_876_352,
    "Qwen/Qwen2.5-72B-Instruct": 72_706_203_648,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-14B": 14_768_307_200,
    "Qwen/Qwen3-32B": 32_762_123_264,
}


@pytest.mark.parametrize("model", PARAMETERS)
def test_parameters_are_those_of_the_publisher(model: str) -> None:
    assert published_shape(model, "offline").parameters == PARAMETERS[model]


def test_the_built_in_model_needs_no_hub() -> None:
    shape = model_shape("builtin:smollm2-135m")
    assert shape.parameters == 134_515_008
    assert shape.source == "built in"


def test_a_directory_is_read_from_its_config(tmp_path: Path) -> None:
    config = {
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 128, "tie_word_embeddings": True,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert model_shape(str(tmp_path)) == ModelShape(3, 64, 96, 4, 2, 16, 128, tied_embeddings=True)


def test_a_mixture_of_experts_is_refused(tmp_path: Path) -> None:
    config = {"model_type": "mixtral", "num_local_experts": 8}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="mixture of experts"):
        model_shape(str(tmp_path))


def test_an_unreachable_model_comes_from_the_table_or_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    shape = model_shape("meta-llama/Llama-3.1-8B-Instruct")
    assert shape == LLAMA
    with pytest.raises(UserError, match="its shape is unknown"):
        model_shape("nobody/has-this-model")


def test_the_kv_cache_of_llama_8b() -> None:
    assert kv_bytes_per_token(LLAMA, 2) == 2 * 32 * 8 * 128 * 2
    assert kv_bytes_per_token(LLAMA, 2, tensor_parallel=4) == kv_bytes_per_token(LLAMA, 2) // 4
    # Sixteen devices cannot split eight heads: each holds one.
    assert kv_bytes_per_token(LLAMA, 2, tensor_parallel=16) == kv_bytes_per_token(LLAMA, 2) // 8


def test_a_lora_adapter_of_llama_8b() -> None:
    assert LLAMA.lora_parameters(16, "all-linear") == 41_943_040
    assert LLAMA.lora_parameters(16, ["q_proj", "v_proj"]) == 6_815_744


def test_full_training_takes_sixteen_bytes_a_parameter() -> None:
    memory = _trainer(None, "ddp", 1, gpu=False)
    held = memory.weights + memory.gradients + memory.optimizer
    assert held == 16 * LLAMA.parameters


def test_sharding_divides_held_weights_and_not_gathered_ones() -> None:
    eight, sixteen = _trainer(None, "fsdp", 8), _trainer(None, "fsdp", 16)
    assert eight.optimizer == 2 * sixteen.optimizer
    assert eight.weights < 2 * sixteen.weights
    assert eight.activations == sixteen.activations


def test_an_adapter_needs_no_moments_for_the_base() -> None:
    full, adapter = _trainer(None, "ddp", 1), _trainer(LoraSection(rank=16), "ddp", 1)
    assert adapter.optimizer == 8 * 41_943_040
    assert adapter.total < full.total / 4


def test_checkpointing_keeps_one_layer_at_a_time() -> None:
    kept, recomputed = _trainer(LoraSection(), "ddp", 1), _trainer(LoraSection(), "ddp", 1, checkpointing=True)
    assert recomputed.activations < kept.activations / 4


def test_an_engine_splits_its_weights() -> None:
    def weights(parallel: int) -> int:
        return engine_memory(
            LLAMA, dtype_bytes=2, tensor_parallel=parallel, max_num_seqs=64, lora_rank=None, gpu=True
        ).weights

    assert weights(1) == 2 * LLAMA.parameters
    assert weights(4) == weights(1) // 4


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("lora", [False, True])
def test_activations_are_the_tensors_that_autograd_keeps(autocast: bool, lora: bool) -> None:
    """The difference between a real model of four layers and one of two is two layers' activations."""
    shape = ModelShape(1, 256, 768, 8, 2, 32, 512, tied_embeddings=False)
    # One block; unlike any size of the model, so that activations differ from copies of weights in shape.
    tokens = 120
    four, two = (_kept(shape, layers, tokens, autocast, lora) for layers in (4, 2))
    measured = (four - two) / 2 / tokens
    expected = activation_bytes_per_token(shape, autocast=autocast, lora=lora)
    assert measured == pytest.approx(expected, rel=0.05)


def _kept(shape: ModelShape, layers: int, tokens: int, autocast: bool, lora: bool) -> int:
    """Return the bytes of distinct activations that a forward pass leaves for the backward pass."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, LlamaConfig

    from rlaif.training.kernels.attention import Attention, set_attention
    from rlaif.training.kernels.cpu_layers import use_cpu_layers
    from rlaif.training.kernels.layout import plain_layout

    config = LlamaConfig(
        num_hidden_layers=layers,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        vocab_size=shape.vocab,
    )
    dtype = torch.bfloat16 if autocast and lora else torch.float32
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    set_attention(model, Attention("groups"))
    if lora:
        model = get_peft_model(model, LoraConfig(r=1, target_modules="all-linear", task_type="CAUSAL_LM"))
    if not autocast:
        use_cpu_layers(model)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        # Autocast's copies of weights are leaves of their own; an activation depends on the tokens.
        if tensor.untyped_storage().data_ptr() not in weights and tokens in tensor.shape:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    layout = plain_layout(tokens, torch.device("cpu"))
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        model(
            input_ids=torch.zeros(1, tokens, dtype=torch.long),
            position_ids=torch.arange(tokens)[None],
            layout=layout,
            logits_to_keep=torch.zeros(1, dtype=torch.long),
            use_cache=False,
        )
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _trainer(
    lora: LoraSection | None,
    strategy: Literal["ddp", "fsdp"],
    workers: int,
    *,
    checkpointing: bool = False,
    gpu: bool = True,
) -> Memory:
    return trainer_memory(
        LLAMA,
        TrainingSection(lora=lora, gradient_checkpointing=checkpointing),
        TrainersSection(strategy=strategy, workers=workers),
        dtype_bytes=2,
        row_tokens=2048,
        answer_tokens=512,
        gpu=gpu,
    )


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with forty questions of 300 characters, and no hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    rows = [
        {"id": str(i), "question": f"What was {i}?", "context": "x" * 288, "gold_answer": str(i)} for i in range(40)
    ]
    (tmp_path / "questions.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return tmp_path


def _plan(*overrides: str, recipe: str = "llama-8b-8gpu", **options: Any) -> Plan:
    # What is free on this machine would decide what fits.
    options.setdefault("host_memory", 24.0)
    hardware = HardwareOptions(**{key: options.pop(key) for key in list(options) if key in HARDWARE})
    return make_plan(load_recipe(recipe, list(overrides)), PlanOptions(hardware, **options))


HARDWARE = [field.name for field in fields(HardwareOptions)]
FILES = ("questions.train.path=questions.jsonl", "questions.heldout.path=questions.jsonl")


def test_the_cluster_recipe_fits_eight_gpus_with_no_gpu_and_no_hub(files: Path) -> None:
    plan = _plan()
    assert plan.hardware.devices == 8
    seats = {seat.role: seat for seat in plan.seats}
    assert (seats["policy"].count, seats["policy"].devices_each) == (4, 1)
    assert (seats["judge"].count, seats["judge"].devices_each) == (1, 4)
    assert (seats["training"].count, seats["training"].strategy) == (8, "fsdp")
    for seat in plan.seats:
        assert seat.memory.total <= seat.allowed
    assert seats["judge"].memory.weights == pytest.approx(2 * PARAMETERS["Qwen/Qwen2.5-32B-Instruct"] / 4, rel=1e-6)
    assert plan.questions[0].count == 6500
    assert any("virattt/financial-qa-10K" in line and "--questions" in line for line in plan.assumptions)
    assert any("table of published shapes" in line for line in plan.assumptions)


def test_shared_takes_the_larger_stage_and_split_the_sum(files: Path) -> None:
    assert _plan("cluster.training.workers=4").hardware.devices == 8
    assert _plan("cluster.placement=split").hardware.devices == 16


@pytest.mark.parametrize(
    ("overrides", "options", "names"),
    [
        ([], {"gpus": 4}, "there are 4"),
        (["cluster.placement=split"], {"gpus": 8}, "cluster.placement: split"),
        (["policy.model=meta-llama/Llama-3.1-70B-Instruct"], {}, "cluster.policy.tensor_parallel"),
        (["policy.max_length=100000"], {"gpu_type": "a10g"}, "policy.max_length"),
        (["cluster.policy.tensor_parallel=3"], {}, "32 attention heads"),
        (["training.lora=null", "cluster.training.strategy=ddp"], {}, "cluster.training.strategy: fsdp"),
        ([], {"gpu_type": "abacus"}, "--gpu-type abacus"),
        (["policy.model=nobody/has-this"], {}, "its shape is unknown"),
    ],
)
def test_impossible_settings_are_refused_by_name(
    files: Path, overrides: list[str], options: dict[str, Any], names: str
) -> None:
    with pytest.raises(UserError) as refused:
        _plan(*overrides, **options)
    assert names in str(refused.value)
    assert "expected" in str(refused.value) or "unknown" in str(refused.value)


def test_a_missing_question_file_is_refused_as_in_a_run(files: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.jsonl"):
        _plan("questions.train.path=absent.jsonl", FILES[1], recipe="questions")


def test_tokens_follow_from_the_recipe_and_the_questions(files: Path) -> None:
    plan = _plan(*FILES, "sampling.candidates=3", "rounds.questions=[10,0.5]", recipe="questions", prompt_tokens=100)
    first, second = (entry.tokens for entry in plan.rounds)
    assert (first.questions, second.questions) == (10, 20)
    # A prompt is computed once for all its candidates.
    assert (first.sample.requests, first.sample.sent, first.sample.computed) == (30, 3000, 1000)
    assert first.sample.written == 10 * 3 * 48
    # Three comparisons of three candidates, each in both orders, one label each.
    assert first.judge[0].requests == first.judge[0].written == 10 * 3 * 2
    assert first.train.computed == 10 * (100 + 3 * 48)


def test_prompts_are_measured_if_the_file_exists(files: Path) -> None:
    plan = _plan(*FILES, recipe="questions")
    train, heldout = plan.questions
    assert (train.count, heldout.count) == (40, 40)
    assert 100 < train.prompt_tokens < 250
    assert any("characters a token" in line for line in plan.assumptions)


@pytest.mark.parametrize(
    ("recipe", "sampled"), [("questions", [240, 240]), ("tatqa", [0, 320]), ("incremental-sft", [0] * 5)]
)
def test_a_recipe_for_questions_of_the_user_is_prepared_and_planned(
    files: Path, recipe: str, sampled: list[int]
) -> None:
    heldout = (files / "questions.jsonl").read_text().replace('"id": "', '"id": "h')
    (files / "heldout.jsonl").write_text(heldout)
    paths = [FILES[0], "questions.heldout.path=heldout.jsonl"]
    if recipe == "incremental-sft":
        paths.append("questions.test.path=heldout.jsonl")
    setup = prepare(load_recipe(recipe, paths), "runs")
    assert [len(questions) for questions in (setup.train, setup.heldout)] == [40, 40]
    assert len(setup.test) == 40 * (len(paths) - 2)
    rounds = [entry.tokens for entry in _plan(*paths, recipe=recipe).rounds]
    assert [tokens.sample.requests for tokens in rounds] == sampled
    assert all(tokens.train.computed > 0 for tokens in rounds)


def test_money_needs_a_price_and_is_the_gpus_hours(files: Path) -> None:
    assert _plan().cost is None
    plan = _plan(price=2.0)
    assert plan.cost == pytest.approx(2.0 * 8 * plan.seconds / 3600)


def test_a_faster_gpu_takes_less_time(files: Path) -> None:
    base = _plan()
    assert _plan(tflops=2000.0).rounds[0].train < base.rounds[0].train
    assert _plan(bandwidth=10.0).rounds[0].sample < base.rounds[0].sample
    assert _plan(answer_tokens=64).seconds < base.seconds


def test_a_judge_on_the_policy_gets_engines_of_its_own_only_with_full_weights(files: Path) -> None:
    """With an adapter the base still answers the judge; full weights change."""
    adapter = _plan(*FILES, recipe="questions", host_memory=24.0)
    full = _plan(*FILES, "training.lora=null", recipe="questions", host_memory=24.0)
    assert [seat.role for seat in adapter.seats] == ["policy", "training"]
    assert [seat.role for seat in full.seats] == ["policy", "judge", "training"]


def test_a_remote_judge_takes_no_engine_and_its_tokens_and_money_are_shown(files: Path) -> None:
    (files / "remote.yaml").write_text(
        "kind: llm\nprompt: finance-grounded:reasoning\nmax_tokens: 100\nsamples: 2\ntemperature: 1\n"
        "backend: {type: openai, model: m, prices: {prompt: 1, completion: 1000}}\n",
        encoding="utf-8",
    )
    plan = _plan(
        *FILES,
        f"judge.name={files}/remote.yaml",
        "sampling.candidates=3",
        "rounds.questions=[10,10]",
        recipe="questions",
    )
    assert plan.judges == ()
    assert [seat.role for seat in plan.seats] == ["policy", "training"]
    (line,) = (
        line for line in plan.assumptions if line.startswith("judge remote is asked at https://api.openai.com/v1")
    )
    # Three comparisons in both orders, two samples each, of 20 questions: 24,000 tokens of answers at most.
    assert "up to 240 requests of" in line
    assert "and 24,000 answer tokens, 24." in line
    assert line.endswith("USD at its prices; neither its time nor its money is counted below")


def test_criteria_of_questions_take_room_in_a_judges_context(files: Path) -> None:
    files_ = [f"questions.{role}={{type: file, path: questions.jsonl}}" for role in ("train", "heldout")]
    room = ("judge.name=criteria", "cluster.policy.kv_cache_gib=2", *files_)
    _plan(*room)
    criteria = {"complete": {"weight": 1, "description": "Every figure is named. " * 1000}}
    rows = [json.loads(line) for line in (files / "questions.jsonl").read_text().splitlines()]
    (files / "questions.jsonl").write_text("\n".join(json.dumps({**row, "criteria": criteria}) for row in rows))
    with pytest.raises(UserError, match=r"policy\.max_length, and the judge's prompt around it"):
        _plan(*room)
    _plan("judge.name=finance-grounded", *room[1:])


def test_a_small_node_is_refused(files: Path) -> None:
    with pytest.raises(UserError, match="node"):
        _plan(*FILES, recipe="questions", host_memory=4.0)


def _phase(phase: str) -> list[str]:
    """Return overrides that make a recipe one phase."""
    return [f"phases=[{phase}]", "rounds={}", "training={}"]


@pytest.mark.parametrize(
    ("phase", "passes"),
    [
        ("{objective: dpo}", 0),
        ("{objective: dpo, training: {reference: initial}}", 1),
        ("{objective: dpo, training: {ld_alpha: 0.5}}", 1),
        ("{objective: sft}", 0),
        # Once after their own prompt, and in each of two epochs twice after another.
        ("{objective: kto, ratings: {desirable_from: 1}, training: {epochs: 2}}", 5),
        ("{objective: grpo, sampling: {temperature: 1}}", 0),
        ("{objective: grpo, sampling: {temperature: 0.9}}", 1),
        ("{objective: grpo, sampling: {temperature: 1}, training: {kl: 0.1}}", 1),
        ("{objective: ppo, sampling: {temperature: 1}}", 2),
    ],
)
def test_a_training_is_planned_with_the_passes_that_only_read(phase: str, passes: int) -> None:
    recipe = load_recipe("questions", _phase(phase))
    (found,) = recipe.every_phase
    temperature = found.sampling.temperature_of(0) if found.sampling else 1.0
    assert passes_without_gradients(found, temperature) == passes


def test_a_file_of_demonstrations_is_read_once_for_all_rounds(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []

    def read(path: str, *arguments: Any) -> Any:
        reads.append(path)
        return read_demonstrations(path, *arguments)

    monkeypatch.setattr(tokens, "read_demonstrations", read)
    phase = "{objective: sft, rounds: 5, questions: 0.2, demonstrations: {type: file, path: questions.jsonl}}"
    plan = _plan(*FILES, *_phase(phase), recipe="questions")
    assert [entry.tokens.questions for entry in plan.rounds] == [8] * 5
    assert reads == ["questions.jsonl"]


def test_questions_on_tables_are_answers_to_train_on(files: Path) -> None:
    phase = "{objective: sft, questions: 10, demonstrations: {type: gold_answers, table_questions: 3}}"
    plan = _plan(*FILES, *_phase(phase), recipe="questions", prompt_tokens=100)
    (only,) = (entry.tokens for entry in plan.rounds)
    assert only.train.computed == 10 * (100 + 4 * 48)


def test_the_best_of_the_candidates_is_one_answer_to_train_on(files: Path) -> None:
    phase = "{objective: sft, questions: 10, demonstrations: {type: best_of_n}, sampling: {candidates: 8}}"
    plan = _plan(*FILES, *_phase(phase), recipe="questions", prompt_tokens=100)
    (only,) = (entry.tokens for entry in plan.rounds)
    assert (only.sample.requests, only.train.computed) == (80, 10 * (100 + 48))


def test_rows_of_people_that_join_are_named_as_not_counted(files: Path) -> None:
    people = "feedback.preferences=theirs.jsonl"
    plan = _plan(*FILES, people, recipe="questions")
    assert "theirs.jsonl, whose rows join those of the rounds, is not counted" in plan.assumptions
