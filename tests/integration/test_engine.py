"""A real vLLM engine: its samples, its scores, and that it answers with new weights after an update."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rlaif.errors import WorkError
from rlaif.inference.requests import ChatRequest, ChoiceRequest, SampleRequest, ScoreRequest
from rlaif.inference.vllm.actor import engine_options, lora_options
from rlaif.inference.vllm.engine import VllmEngine
from rlaif.prompts.front_matter import PairwiseJson
from rlaif.recipe import EnginesSection
from rlaif.store.policy_weights import PolicyWeights, Probe, ProbeSequence
from rlaif.training.models import load_model

LIMITS = {"max_probe_difference": 0.002, "max_length": 400}
MESSAGES = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]


@pytest.fixture(scope="module")
def options() -> dict[str, object]:
    return engine_options(EnginesSection(max_num_seqs=16, kv_cache_gib=0.25), False, "float32", 512, engines_on_node=1)


@pytest.fixture(scope="module")
def engine(model_folder: str, options: dict[str, object]) -> Iterator[VllmEngine]:
    engine = VllmEngine(model_folder, options | lora_options(8), PolicyWeights("base", "base"), **LIMITS)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def model(model_folder: str) -> torch.nn.Module:
    return load_model(model_folder, "float32").eval()


def logps(model: torch.nn.Module, tokens: list[int]) -> list[float]:
    ids = torch.tensor([tokens])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
    return logits.gather(1, ids[0, 1:, None])[:, 0].tolist()


def probe_of(tokens: list[int], after: list[float], before: list[float] | None = None) -> Probe:
    return Probe([ProbeSequence(tokens, 1, after, before)])


def test_greedy_answer_is_right(engine: VllmEngine) -> None:
    reply = engine.sample(SampleRequest("q", MESSAGES, temperature=0.0, max_tokens=8)).result(60)
    assert "Paris" in reply.candidates[0].text
    assert reply.candidates[0].finish_reason == "stop"
    assert reply.policy == "base"


def test_samples_differ_by_seed_and_repeat_with_it(engine: VllmEngine) -> None:
    request = SampleRequest("q", MESSAGES, n=4, seed=7, temperature=1.0, max_tokens=12)
    first, second = (engine.sample(request).result(60).candidates for _ in range(2))
    assert [sample.token_ids for sample in first] == [sample.token_ids for sample in second]
    assert [sample.seed for sample in first] == [7, 8, 9, 10]
    assert len({tuple(sample.token_ids) for sample in first}) > 1


def test_a_judges_question_is_answered_with_a_text(engine: VllmEngine) -> None:
    reply = engine.chat(ChatRequest(MESSAGES, 8)).result(60)
    assert "Paris" in reply.text
    assert (reply.finish_reason, reply.failure) == ("stop", None)
    assert (reply.prompt_tokens > 0, 0 < reply.completion_tokens <= 8, reply.seconds > 0) == (True, True, True)
    cut = engine.chat(ChatRequest(MESSAGES, 1)).result(60)
    assert (cut.finish_reason, cut.completion_tokens) == ("length", 1)
    long = engine.chat(ChatRequest(MESSAGES, 512)).result(60)
    assert "exceed the context of 512" in (long.failure or "")


def test_a_judges_samples_repeat_with_their_seed(engine: VllmEngine) -> None:
    asked = [engine.chat(ChatRequest(MESSAGES, 16, 1.0, seed)) for seed in (1, 2, 3, 4, 1)]
    texts = [future.result(60).text for future in asked]
    assert texts[0] == texts[4]
    assert len(set(texts)) > 1


def test_a_judges_json_fits_its_schema_beside_other_requests(engine: VllmEngine) -> None:
    front = PairwiseJson(kind="pairwise", verdict="json", reason=False, tie_choice="neither")
    asked = [engine.chat(ChatRequest(MESSAGES, 24, 1.0, seed, front.answer_schema)) for seed in range(6)]
    beside = engine.chat(ChatRequest(MESSAGES, 8))
    for future in asked:
        text = future.result(60).text
        assert front.of_text(text).status in ("ok", "tie")
        # White space between the parts of JSON would use up the tokens that the choice needs.
        assert text == text.strip()
    assert "Paris" in beside.result(60).text


def test_logprobs_are_raw_and_the_trainers(engine: VllmEngine, model: torch.nn.Module) -> None:
    reply = engine.sample(SampleRequest("q", MESSAGES, seed=3, temperature=0.5, top_p=0.9, max_tokens=12)).result(60)
    sample = reply.candidates[0]
    expected = logps(model, reply.prompt_token_ids + sample.token_ids)[len(reply.prompt_token_ids) - 1 :]
    assert sample.logprobs == pytest.approx(expected, abs=1e-3)


def test_choices_have_the_logprobs_of_exactly_their_tokens(engine: VllmEngine, model: torch.nn.Module) -> None:
    reply = engine.choose(ChoiceRequest(MESSAGES, ("A", "B"))).result(60)
    prompt = engine.sample(SampleRequest("q", MESSAGES, temperature=0.0, max_tokens=1)).result(60).prompt_token_ids
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
    tokens = [engine._texts.choice_id(choice, "") for choice in ("A", "B")]
    assert reply.logprobs == pytest.approx([expected[token].item() for token in tokens], abs=1e-3)
    begun = int(expected.argmax())
    assert reply.text == engine._texts.token(begun)
    assert reply.text_logprob == pytest.approx(expected[begun].item(), abs=1e-3)


def test_comparisons_of_a_prompt_compute_their_shared_tokens_once(engine: VllmEngine) -> None:
    engine.update(PolicyWeights("empties the cache", "base"), "").result(60)
    question = " ".join(f"item {number}" for number in range(60))
    asked = [[{"role": "user", "content": f"{question}\nAnswer {name}."}] for name in ("one", "two", "three", "four")]
    before = engine.prefill.prompt_tokens, engine.prefill.cached_tokens
    replies = [future.result(60) for future in [engine.choose(ChoiceRequest(chat, ("A", "B"))) for chat in asked]]
    read, cached = engine.prefill.prompt_tokens - before[0], engine.prefill.cached_tokens - before[1]
    assert read == sum(reply.prompt_tokens for reply in replies)
    # Whole blocks of 32 tokens, for all questions but the first, though all four were asked at once.
    assert cached % (3 * 32) == 0
    assert cached >= 3 * (min(reply.prompt_tokens for reply in replies) - 64)
    engine.update(PolicyWeights("base", "base"), "").result(60)
    alone = engine.choose(ChoiceRequest(asked[2], ("A", "B"))).result(60)
    assert alone.logprobs == pytest.approx(replies[2].logprobs, abs=1e-3)


def test_scores_are_the_trainers(engine: VllmEngine, model: torch.nn.Module) -> None:
    tokens = list(range(1000, 1040))
    scored = engine.score(ScoreRequest(tokens, start=30)).result(60)
    assert scored == pytest.approx(logps(model, tokens)[29:], abs=2e-3)


def test_a_prompt_beyond_the_context_is_a_failure_with_its_reason(engine: VllmEngine) -> None:
    long = [{"role": "user", "content": "word " * 500}]
    reply = engine.sample(SampleRequest("long", long, max_tokens=8)).result(60)
    assert reply.candidates == []
    assert "exceed the context of 400" in (reply.failure or "")


def test_adapter_answers_after_the_update_and_the_base_beside_it(
    engine: VllmEngine, model_folder: str, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    adapted = get_peft_model(load_model(model_folder, "float32"), config).eval()
    adapted.save_pretrained(tmp_path / "adapter")
    tokens = list(range(1000, 1030))
    base, trained = logps(load_model(model_folder, "float32").eval(), tokens), logps(adapted, tokens)
    policy = PolicyWeights("adapter-1", "lora", "", probe_of(tokens, trained, base), serial=1)
    probed = engine.update(policy, str(tmp_path / "adapter")).result(60)
    assert probed is not None
    assert (probed.difference < 1e-3, probed.told_apart) == (True, True)
    assert engine.score(ScoreRequest(tokens, 1, adapter=True)).result(60) == pytest.approx(trained, abs=0.02)
    assert engine.score(ScoreRequest(tokens, 1, adapter=False)).result(60) == pytest.approx(base, abs=0.02)
    engine.update(PolicyWeights("base", "base"), "").result(60)


def test_wrong_weights_are_refused(engine: VllmEngine, tmp_path: Path, model_folder: str) -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM")
    get_peft_model(load_model(model_folder, "float32"), config).save_pretrained(tmp_path / "untrained")
    probe = probe_of(list(range(1000, 1010)), [-1.0] * 9)
    with pytest.raises(WorkError, match="does not answer with the trained weights"):
        engine.update(PolicyWeights("wrong", "lora", "", probe, serial=2), str(tmp_path / "untrained")).result(60)
    engine.update(PolicyWeights("base", "base"), "").result(60)


def test_full_weights_reload_with_their_tied_head(
    model_folder: str, options: dict[str, object], tmp_path: Path, model: torch.nn.Module
) -> None:
    engine = VllmEngine(model_folder, dict(options), PolicyWeights("base", "base"), **LIMITS)
    try:
        changed = load_model(model_folder, "float32").eval()
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in changed.parameters():
                parameter.add_(0.02 * parameter.std() * torch.randn_like(parameter))
        changed.save_pretrained(tmp_path / "full")
        tokens = list(range(1000, 1030))
        # The prefix cache of the old weights must not serve the new ones.
        engine.score(ScoreRequest(tokens, 1)).result(60)
        started = logps(model, tokens)
        probe = probe_of(tokens, logps(changed, tokens), started)
        policy = PolicyWeights("full-1", "full", "", probe, serial=1)
        probed = engine.update(policy, str(tmp_path / "full")).result(120)
        assert probed is not None
        assert probed.told_apart
        again = engine.sample(SampleRequest("q", MESSAGES, temperature=0.0, max_tokens=6)).result(60)
        expected = logps(changed, again.prompt_token_ids + again.candidates[0].token_ids)
        assert again.candidates[0].logprobs == pytest.approx(expected[len(again.prompt_token_ids) - 1 :], abs=2e-3)
        assert again.policy == "full-1"
        # The initial weights come and go in between, and leave nothing behind.
        (initial,) = engine.score_initial([ScoreRequest(tokens, 1)]).result(120)
        assert initial == pytest.approx(started, abs=2e-3)
        assert engine.score(ScoreRequest(tokens, 1)).result(60) == pytest.approx(logps(changed, tokens), abs=2e-3)
        # A checkpoint that vLLM left as it was is found out.
        stale = PolicyWeights("full-2", "full", "", probe_of(tokens, started, logps(changed, tokens)), serial=2)
        with pytest.raises(WorkError, match="does not answer with the trained weights"):
            engine.update(stale, str(tmp_path / "full")).result(120)
    finally:
        engine.close()


def test_base_and_adapter_side_by_side_do_not_mix(
    model_folder: str, options: dict[str, object], tmp_path: Path
) -> None:
    """A judge that asks the base model shares the batch with the policy's adapter."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    get_peft_model(load_model(model_folder, "float32"), config).save_pretrained(tmp_path / "adapter")
    engine = VllmEngine(model_folder, options | lora_options(8), PolicyWeights("base", "base"), **LIMITS)
    try:
        engine.update(PolicyWeights("adapter", "lora", serial=1), str(tmp_path / "adapter")).result(60)
        prompts = [[{"role": "user", "content": f"Name {count} colours."}] for count in range(2, 8)]

        def ask(adapter: bool) -> list[SampleRequest]:
            return [
                SampleRequest(str(adapter), prompt, temperature=0.0, max_tokens=8, adapter=adapter)
                for prompt in prompts
            ]

        alone = {adapter: [engine.sample(request).result(60) for request in ask(adapter)] for adapter in (True, False)}
        mixed = [engine.sample(request) for pair in zip(ask(True), ask(False), strict=True) for request in pair]
        replies = [future.result(60) for future in mixed]
        for adapter, together in ((True, replies[0::2]), (False, replies[1::2])):
            for one, other in zip(alone[adapter], together, strict=True):
                assert other.candidates[0].token_ids == one.candidates[0].token_ids
                assert other.candidates[0].logprobs == pytest.approx(one.candidates[0].logprobs, abs=1e-3)
        assert alone[True][0].candidates[0].logprobs != pytest.approx(alone[False][0].candidates[0].logprobs, abs=1e-2)
    finally:
        engine.close()
