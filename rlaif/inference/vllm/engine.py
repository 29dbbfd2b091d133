"""One vLLM engine in this process.

vLLM's in-process engine starts in a fifth of the time of its subprocess form. Requests queue as futures; the `Stepper`
alone touches vLLM.
"""

import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from rlaif.errors import UserError, WorkError
from rlaif.inference.requests import (
    ChatReply,
    ChatRequest,
    ChoiceReply,
    ChoiceRequest,
    SampleReply,
    SampleRequest,
    ScoreRequest,
)
from rlaif.inference.vllm.probe import ProbeResult
from rlaif.inference.vllm.stepper import Stepper, StepRequest
from rlaif.inference.vllm.texts import EngineTexts
from rlaif.inference.vllm.weights import WeightLoader
from rlaif.models.merge import tokenizer_folder
from rlaif.store.policy_weights import PolicyWeights


@dataclass(slots=True)
class PrefillCounts:
    """Prompt tokens of the judges' requests that an engine has answered, and those that its prefix cache held."""

    prompt_tokens: int = 0
    cached_tokens: int = 0

    def add(self, prompt_tokens: int, cached_tokens: int | None) -> None:
        """Count one request."""
        self.prompt_tokens += prompt_tokens
        self.cached_tokens += cached_tokens or 0


class VllmEngine:
    """A vLLM engine that samples, chooses, chats and scores.

    Args:
        model: local directory of the weights.
        options: further arguments of `vllm.LLM`.
        policy: the weights it starts with, of kind `base`.
        max_probe_difference: see `check_probe`.
        max_length: longest prompt and answer together when sampling, in tokens.
        adapter: local folder of the initial policy's adapter; "" where that is the model itself.
        chat_template_kwargs: arguments of the chat template when sampling; a judge's requests have their own.

    Attributes:
        prefill: written by the stepping thread alone.
    """

    def __init__(
        self,
        model: str,
        options: dict[str, Any],
        policy: PolicyWeights,
        *,
        max_probe_difference: float,
        max_length: int,
        adapter: str = "",
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        from vllm import LLM
        from vllm.platforms import current_platform

        if options.get("enable_lora") and current_platform.is_cpu():
            from rlaif.inference.vllm.cpu_lora import use_segment_kernels

            use_segment_kernels()
        if (tokenizer := tokenizer_folder(model, adapter)) != model:
            options = {**options, "tokenizer": tokenizer}
        if options.get("tensor_parallel_size", 1) == 1:
            options = {**options, "distributed_executor_backend": "uni"}
        # Where the grammar lets them, small models pad JSON with white space to the end of their budget. vLLM takes the
        # setting for a whole engine, and with a named backend alone.
        structured = {"backend": "xgrammar", "disable_any_whitespace": True}
        llm = LLM(model=model, seed=0, disable_log_stats=True, structured_outputs_config=structured, **options)
        self._texts = EngineTexts(llm.get_tokenizer(), chat_template_kwargs)
        self._context, self._max_length = int(options["max_model_len"]), max_length
        self._weights = WeightLoader(llm, policy, model, max_probe_difference, adapter=adapter)
        self.prefill = PrefillCounts()
        self._stepper = Stepper(llm.llm_engine)

    def sample(self, request: SampleRequest) -> "Future[SampleReply]":
        """Queue a prompt; its reply has `n` candidates or a failure."""
        weights_id = self._weights.policy.id
        try:
            prompt = self._texts.sampling_prompt(request)
        except UserError as error:
            return _done(SampleReply(request.id, [], [], weights_id, failure=str(error)))
        if len(prompt) + request.max_tokens > self._max_length:
            failure = _too_long(len(prompt), request.max_tokens, self._max_length)
            return _done(SampleReply(request.id, prompt, [], weights_id, failure=failure))
        params = _params(
            n=request.n,
            temperature=request.temperature,
            top_p=request.top_p if request.temperature > 0 else 1.0,
            max_tokens=request.max_tokens,
            seed=request.seed,
            logprobs=0,
        )

        def finish(output: Any) -> SampleReply:
            parts = sorted(output.outputs, key=lambda part: part.index)
            samples = [self._texts.candidate(part, request.seed) for part in parts]
            return SampleReply(request.id, prompt, samples, weights_id)

        lora = self._weights.lora if request.adapter else self._weights.initial
        return self._stepper.submit(StepRequest(prompt, params, lora, finish))

    def choose(self, request: ChoiceRequest) -> "Future[ChoiceReply]":
        """Queue a question whose answer is one of a few choices; always answered by the initial policy."""
        started = time.monotonic()
        try:
            prompt = self._texts.judging_prompt(request) + self._texts.plain_ids(request.prefix)
        except UserError as error:
            return _done(ChoiceReply([], 0, 0, 0.0, failure=str(error)))
        if len(prompt) + 1 > self._context:
            failure = f"prompt of {len(prompt)} tokens exceeds the context of {self._context}"
            return _done(ChoiceReply([], len(prompt), 0, 0.0, failure=failure))
        tokens = [self._texts.choice_id(choice, request.prefix) for choice in request.choices]
        if len(set(tokens)) < len(tokens):
            failure = f"choices {request.choices} share a first token"
            return _done(ChoiceReply([], len(prompt), 0, 0.0, failure=failure))
        # Greedy over the whole vocabulary: vLLM returns the token that it sampled beside those that are asked for.
        params = _params(max_tokens=1, temperature=0.0, logprob_token_ids=tokens)

        def finish(output: Any) -> ChoiceReply:
            self.prefill.add(len(prompt), output.num_cached_tokens)
            step, begun = output.outputs[0].logprobs[0], output.outputs[0].token_ids[0]
            return ChoiceReply(
                [float(step[token].logprob) for token in tokens],
                len(prompt),
                1,
                time.monotonic() - started,
                text=self._texts.token(begun),
                text_logprob=float(step[begun].logprob),
            )

        return self._stepper.submit(StepRequest(prompt, params, self._weights.initial, finish))

    def chat(self, request: ChatRequest) -> "Future[ChatReply]":
        """Queue a judge's question that is answered with a text; always answered by the initial policy."""
        from vllm.sampling_params import StructuredOutputsParams

        started = time.monotonic()
        try:
            prompt = self._texts.judging_prompt(request)
        except UserError as error:
            return _done(ChatReply("", "", 0, 0, 0.0, failure=str(error)))
        if len(prompt) + request.max_tokens > self._context:
            failure = _too_long(len(prompt), request.max_tokens, self._context)
            return _done(ChatReply("", "", len(prompt), 0, 0.0, failure=failure))
        temperature = 1.0 if request.temperature is None else request.temperature
        params = _params(
            temperature=temperature,
            max_tokens=request.max_tokens,
            seed=request.seed if temperature > 0 else None,
            structured_outputs=StructuredOutputsParams(json=request.schema) if request.schema else None,
        )

        def finish(output: Any) -> ChatReply:
            self.prefill.add(len(prompt), output.num_cached_tokens)
            answer, seconds = output.outputs[0], time.monotonic() - started
            reason, tokens = str(answer.finish_reason), len(answer.token_ids)
            if reason not in ("stop", "length"):
                return ChatReply("", "", len(prompt), tokens, seconds, failure=f"vLLM ended the answer with {reason}")
            return ChatReply(self._texts.reply(request, answer), reason, len(prompt), tokens, seconds)

        return self._stepper.submit(StepRequest(prompt, params, self._weights.initial, finish))

    def score(self, request: ScoreRequest) -> "Future[list[float]]":
        """Queue a token sequence; its reply is the log-probability of each token from `start` on."""
        self._check_length(request)
        tokens, start = request.token_ids, request.start

        def finish(output: Any) -> list[float]:
            return [output.prompt_logprobs[i][tokens[i]].logprob for i in range(start, len(tokens))]

        # With adapters enabled, vLLM computes a prompt's logits with the adapters of the whole batch. Beside other
        # requests that fails or gives wrong values, so it runs alone.
        params = _params(max_tokens=1, temperature=0.0, prompt_logprobs=0)
        lora = self._weights.lora if request.adapter else self._weights.initial
        return self._stepper.submit(StepRequest(list(tokens), params, lora, finish, alone=True))

    def score_initial(self, requests: Sequence[ScoreRequest]) -> "Future[list[list[float]]]":
        """Queue token sequences to be scored by the weights that the engine started with, when nothing else runs.

        Only a new engine may be used after an error; see `WeightLoader.score_initial`.
        """
        for request in requests:
            self._check_length(request)
        return self._stepper.call(lambda: self._weights.score_initial(requests))

    def _check_length(self, request: ScoreRequest) -> None:
        count, start = len(request.token_ids), request.start
        if count + 1 > self._context or start < 1:
            raise WorkError(f"cannot score {count} tokens from {start} on in a context of {self._context}")

    def update(self, policy: PolicyWeights, folder: str) -> "Future[ProbeResult | None]":
        """Queue new weights, to be loaded when nothing runs; see `WeightLoader.load`."""
        return self._stepper.call(lambda: self._weights.load(policy, folder))

    @property
    def alive(self) -> bool:
        """Whether the engine still answers; once False, it never will again."""
        return self._stepper.alive

    def close(self) -> None:
        """Stop the engine; requests in flight fail."""
        self._stepper.close()


def _params(**options: Any) -> Any:
    """Return vLLM's `SamplingParams` of a request that is answered once, when it is finished."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(output_kind=RequestOutputKind.FINAL_ONLY, **options)


def _too_long(prompt: int, answer: int, context: int) -> str:
    return f"prompt of {prompt} tokens and an answer of up to {answer} exceed the context of {context}"


def _done(value: Any) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_result(value)
    return future
