"""The order in which an engine's weights come and go, and that a failure in between is never taken for success."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from rlaif.errors import WorkError
from rlaif.inference.requests import ScoreRequest
from rlaif.inference.vllm.weights import WeightLoader
from rlaif.store.policy_weights import PolicyWeights, Probe, ProbeSequence

TOKENS = [5, 6, 7]
TRAINED, INITIAL = -1.0, -2.0
FULL = PolicyWeights("full-1", "full", "url", Probe([ProbeSequence(TOKENS, 1, [TRAINED] * 2, [INITIAL] * 2)]), 1)


class Llm:
    """vLLM as the loader sees it: its log-probabilities are those of the folder that was loaded last.

    `fails` is asked before each reload, and a cache that was not reset answers for the weights before.
    """

    def __init__(self, fails: Callable[[str, int], bool] = lambda folder, count: False) -> None:
        self.folder, self._cached, self._fails, self.loads = "initial", "initial", fails, 0

    def collective_rpc(self, method: str, kwargs: dict[str, str]) -> None:
        assert method == "reload_weights"
        self.loads += 1
        if self._fails(kwargs["weights_path"], self.loads):
            raise OSError("the disk is gone")
        self.folder = kwargs["weights_path"]

    def apply_model(self, function: Callable[[Any], None]) -> None:
        pass

    def reset_prefix_cache(self) -> bool:
        self._cached = self.folder
        return True

    def generate(self, prompts: list[dict[str, list[int]]], params: Any, **_: Any) -> list[Any]:
        logp = TRAINED if self._cached == "trained" else INITIAL
        return [
            SimpleNamespace(
                prompt_logprobs=[{token: SimpleNamespace(logprob=logp)} for token in prompt["prompt_token_ids"]]
            )
            for prompt in prompts
        ]


@pytest.fixture(autouse=True)
def without_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(SamplingParams=lambda **options: options))


def loader(llm: Llm) -> WeightLoader:
    return WeightLoader(llm, PolicyWeights("base", "base"), "initial", 0.02)


def test_the_initial_weights_come_and_go_and_the_trained_ones_are_checked_again() -> None:
    llm = Llm()
    weights = loader(llm)
    asked = [ScoreRequest(TOKENS, 1)]
    assert weights.score_initial(asked) == [[INITIAL] * 2]
    assert llm.loads == 0  # They are still there.
    result = weights.load(FULL, "trained")
    assert result is not None
    assert result.told_apart
    assert weights.score_initial(asked) == [[INITIAL] * 2]
    assert (llm.folder, llm.loads, weights.policy) == ("trained", 3, FULL)


def test_weights_that_do_not_arrive_are_refused_and_never_taken_for_those_that_are_there() -> None:
    class Stale(Llm):
        def collective_rpc(self, method: str, kwargs: dict[str, str]) -> None:
            pass

    weights = loader(Stale())
    for _ in range(2):  # Also when it is asked once more.
        with pytest.raises(WorkError, match="does not answer with the trained weights"):
            weights.load(FULL, "trained")
        assert weights.policy.id == ""


@pytest.mark.parametrize("fails_at", [2, 3])
def test_after_a_failure_in_between_the_engine_claims_no_policy(fails_at: int) -> None:
    weights = loader(Llm(lambda folder, count: count == fails_at))
    weights.load(FULL, "trained")
    with pytest.raises(OSError, match="the disk is gone"):
        weights.score_initial([ScoreRequest(TOKENS, 1)])
    assert weights.policy.id == ""


def test_a_prefix_cache_that_vllm_keeps_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    llm = Llm()
    monkeypatch.setattr(llm, "reset_prefix_cache", lambda: False)
    with pytest.raises(WorkError, match="kept its prefix cache"):
        loader(llm).load(FULL, "trained")
