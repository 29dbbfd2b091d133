"""Loads new weights into a running vLLM engine, and verifies that it answers with them.

Invariant: after `load` returns, the engine answers with the wanted weights, its prefix cache holds nothing of the old
ones, and a probe's log-probabilities equal the trainer's. Otherwise `load` raises and the run stops, so that no run
records another policy than the one that it samples from.
"""

from typing import Any

from rlaif.errors import WorkError
from rlaif.store.policy_weights import PolicyWeights, Probe


class WeightLoader:
    """Loads adapters or full weights into one `vllm.LLM`, while nothing runs in it.

    Attributes:
        policy: what the engine answers with.
        lora: vLLM's request for the current adapter; None while the base model answers.
    """

    def __init__(self, llm: Any, policy: PolicyWeights, tolerance: float) -> None:
        self._llm = llm
        self._tolerance = tolerance
        self.policy = policy
        self.lora: Any = None

    def load(self, policy: PolicyWeights, folder: str) -> float:
        """Load a policy from a local folder and return the probe's largest absolute difference, in nats.

        Raises:
            WorkError: the engine does not reproduce the trainer's log-probabilities.
        """
        if policy.id == self.policy.id:
            return 0.0
        if policy.kind == "lora":
            self._load_adapter(policy, folder)
        elif policy.kind == "full":
            self._load_full(folder)
        elif self.policy.kind == "full":
            raise WorkError("an engine with full weights cannot go back to the base model; start a new one")
        else:
            self.lora = None
        # vLLM never resets it itself, and would reuse keys and values of the old weights.
        self._llm.reset_prefix_cache()
        self.policy = policy
        return self._check(policy.probe) if policy.probe else 0.0

    def _load_adapter(self, policy: PolicyWeights, folder: str) -> None:
        from vllm.lora.request import LoRARequest

        # With an id, name or path that was used before, vLLM silently serves the old adapter.
        if self.lora is not None:
            self._llm.llm_engine.remove_lora(self.lora.lora_int_id)
        self.lora = LoRARequest(f"policy-{policy.serial}-{policy.id[:12]}", policy.serial, folder)

    def _load_full(self, folder: str) -> None:
        self._llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
        self._llm.apply_model(_repack_tied_head)

    def _check(self, probe: Probe) -> float:
        from vllm import SamplingParams

        params = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0)
        prompt = {"prompt_token_ids": probe.token_ids}
        output = self._llm.generate([prompt], params, lora_request=self.lora, use_tqdm=False)[0]
        found = [output.prompt_logprobs[i][token].logprob for i, token in enumerate(probe.token_ids) if i > 0]
        worst = max(abs(mine - theirs) for mine, theirs in zip(found, probe.logprobs, strict=True))
        if not worst <= self._tolerance:
            raise WorkError(
                "the engine does not answer with the trained weights: a probe's log-probabilities differ by "
                f"{worst:.4f} from the trainer's, more than training.probe_tolerance allows ({self._tolerance})"
            )
        return float(worst)


def _repack_tied_head(model: Any) -> None:
    """Pack a tied LM head again: on a CPU vLLM keeps a packed copy that reloading does not update."""
    head = getattr(model, "lm_head", None)
    embeddings = getattr(getattr(model, "model", None), "embed_tokens", None)
    method = getattr(head, "quant_method", None)
    if (
        head is not None
        and embeddings is not None
        and getattr(head, "weight", None) is embeddings.weight
        and method is not None
    ):
        method.process_weights_after_loading(head)
