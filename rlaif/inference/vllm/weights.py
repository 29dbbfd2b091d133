"""Weights of one `vllm.LLM`: loaded while nothing runs in it, verified, and lent to the initial policy.

Invariant: after `load` and `score_initial` return, the engine answers with the wanted weights, its prefix cache holds
nothing of others, and a probe's log-probabilities are the trainer's. Otherwise they raise: no run records another
policy than the one that it samples from.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rlaif.errors import WorkError
from rlaif.inference.requests import ScoreRequest
from rlaif.inference.vllm.probe import ProbeResult, check_probe
from rlaif.store.policy_weights import PolicyWeights


class WeightLoader:
    """Loads adapters or full weights.

    Args:
        initial: local folder of the weights that the engine has started with.
        limit: see `check_probe`.
        adapter: local folder of the initial policy's adapter on them; "" without one.

    Attributes:
        policy: what the engine answers with; without an id where that is not certain.
        initial: vLLM's request for the initial policy's adapter; None without one.
        lora: its request for the current adapter; None while the base model answers.
    """

    def __init__(self, llm: Any, policy: PolicyWeights, initial: str, limit: float, *, adapter: str = "") -> None:
        self._llm, self._initial, self._limit = llm, initial, limit
        self._folder = ""
        self.policy = policy
        self.initial: Any = _lora_request(policy, adapter) if adapter else None
        self.lora: Any = self.initial

    def load(self, policy: PolicyWeights, folder: str) -> ProbeResult | None:
        """Load a policy from a local folder; returns what its probe says; None without one or if it is there."""
        if policy.id == self.policy.id:
            return None
        if policy.kind == "base" and self.policy.kind == "full":
            raise WorkError("an engine with full weights cannot go back to the base model; start a new one")
        self.policy = replace(policy, id="")
        if policy.kind == "lora":
            if self.lora is not self.initial:
                self._llm.llm_engine.remove_lora(self.lora.lora_int_id)
            self.lora = _lora_request(policy, folder)
        elif policy.kind == "full":
            self._reload(folder)
        else:
            self.lora = self.initial
        self._reset_prefix_cache()
        result = self._check(policy)
        self.policy, self._folder = policy, folder
        return result

    def score_initial(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        """Return log-probabilities under the initial policy: the weights and the adapter that the engine started with.

        Full weights are loaded again afterwards. If this raises in between, only a new engine has the right weights.
        """
        if self.policy.kind != "full":
            return self._logps(requests)
        policy, self.policy = self.policy, replace(self.policy, id="")
        self._reload(self._initial)
        self._reset_prefix_cache()
        scores = self._logps(requests)
        self._reload(self._folder)
        self._reset_prefix_cache()
        self._check(policy)
        self.policy = policy
        return scores

    def _reload(self, folder: str) -> None:
        self._llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
        self._llm.apply_model(_repack_tied_head)

    def _reset_prefix_cache(self) -> None:
        # vLLM never resets it itself, and would reuse keys and values of the old weights.
        if self._llm.reset_prefix_cache() is False:
            raise WorkError("vLLM kept its prefix cache, which holds keys and values of the weights before")

    def _check(self, policy: PolicyWeights) -> ProbeResult | None:
        if policy.probe is None:
            return None
        asked = [ScoreRequest(each.token_ids, each.start, adapter=True) for each in policy.probe.sequences]
        return check_probe(policy.probe, self._logps(asked), self._limit)

    def _logps(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        """Return the log-probabilities of each sequence's tokens from `start` on."""
        from vllm import SamplingParams

        params = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0)
        found = []
        for request in requests:  # One by one: see `VllmEngine.score`.
            prompt = [{"prompt_token_ids": request.token_ids}]
            lora = self.lora if request.adapter else self.initial
            output = self._llm.generate(prompt, params, lora_request=lora, use_tqdm=False)[0]
            tokens = range(request.start, len(request.token_ids))
            found.append([output.prompt_logprobs[i][request.token_ids[i]].logprob for i in tokens])
        return found


def _lora_request(policy: PolicyWeights, folder: str) -> Any:
    """Return a request that no adapter had before: vLLM silently serves the old one for its id, name or path."""
    from vllm.lora.request import LoRARequest

    # vLLM's ids begin with 1, and the initial policy's serial is 0.
    return LoRARequest(f"policy-{policy.serial}-{policy.id[:12]}", policy.serial + 1, folder)


def _repack_tied_head(model: Any) -> None:
    """Pack a tied LM head again: on a CPU vLLM keeps a packed copy that reloading does not update."""
    head = getattr(model, "lm_head", None)
    embeddings = getattr(getattr(model, "model", None), "embed_tokens", None)
    method = getattr(head, "quant_method", None)
    tied = embeddings is not None and getattr(head, "weight", None) is embeddings.weight
    if tied and method is not None:
        method.process_weights_after_loading(head)
