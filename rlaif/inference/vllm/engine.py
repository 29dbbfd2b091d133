"""One vLLM engine in this process, stepped by a thread of its own.

vLLM's in-process engine starts in a fifth of the time of its subprocess form, and adding a request between two
steps gives the same continuous batching. Invariant: only the stepping thread touches vLLM; every request that was
taken gets exactly one answer, be it a failure.
"""

import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from rlaif.errors import WorkError
from rlaif.inference.requests import (
    ChatReply,
    ChatRequest,
    ChoiceReply,
    ChoiceRequest,
    Sample,
    SampleReply,
    SampleRequest,
    ScoreRequest,
)
from rlaif.inference.vllm.weight_loader import WeightLoader
from rlaif.store.policy_weights import PolicyWeights


@dataclass
class _Ask:
    """A request on its way through vLLM; `finish` turns vLLM's output into the reply.

    `alone` keeps every other request out of vLLM while this one runs.
    """

    prompt_token_ids: list[int]
    params: Any
    lora: Any
    finish: Callable[[Any], Any]
    alone: bool = False
    future: "Future[Any]" = field(default_factory=Future)


@dataclass(slots=True)
class PrefillCounts:
    """Prompt tokens that judges' requests have cost an engine so far, as vLLM counts them.

    Attributes:
        prompt_tokens: of the questions that are answered.
        cached_tokens: those of them that the prefix cache held, so that they were not computed.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0

    def add(self, prompt_tokens: int, cached_tokens: int | None) -> None:
        """Count one question."""
        self.prompt_tokens += prompt_tokens
        self.cached_tokens += cached_tokens or 0


class VllmEngine:
    """A vLLM engine that samples, chooses, chats and scores.

    Args:
        model: local directory of the weights.
        options: further arguments of `vllm.LLM`.
        policy: the weights it starts with, of kind `base`.
        probe_tolerance: largest difference in a probe's log-probabilities after an update.
        max_length: longest prompt and answer together when sampling, in tokens.

    Attributes:
        prefill: written by the stepping thread alone.
    """

    def __init__(
        self, model: str, options: dict[str, Any], policy: PolicyWeights, probe_tolerance: float, max_length: int
    ) -> None:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        from vllm import LLM
        from vllm.platforms import current_platform

        if options.get("enable_lora") and current_platform.is_cpu():
            from rlaif.inference.vllm.cpu_lora import use_segment_kernels

            use_segment_kernels()
        if options.get("tensor_parallel_size", 1) == 1:
            options = {**options, "distributed_executor_backend": "uni"}
        # Small models pad JSON with white space to the end of their budget where the grammar lets them; vLLM takes the
        # setting for a whole engine, and with a named backend alone.
        structured = {"backend": "xgrammar", "disable_any_whitespace": True}
        self._llm = LLM(model=model, seed=0, disable_log_stats=True, structured_outputs_config=structured, **options)
        self._engine = self._llm.llm_engine
        self._tokenizer = self._llm.get_tokenizer()
        self._context, self._max_length = int(options["max_model_len"]), max_length
        self._weights = WeightLoader(self._llm, policy, probe_tolerance)
        self.prefill = PrefillCounts()
        self._inbox: queue.SimpleQueue[_Ask | tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._running: dict[str, _Ask] = {}
        self._count = 0
        self._thread = threading.Thread(target=self._loop, name="vllm-step", daemon=True)
        self._thread.start()

    def sample(self, request: SampleRequest) -> "Future[SampleReply]":
        """Queue a prompt; its reply has `n` samples or a failure."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        prompt = self._encode(request.messages)
        weights_id = self._weights.policy.id
        room = self._max_length - len(prompt)
        if room < request.max_tokens:
            reason = (
                f"prompt of {len(prompt)} tokens and an answer of up to {request.max_tokens} "
                f"exceed the context of {self._max_length}"
            )
            return _done(SampleReply(request.id, prompt, [], weights_id, failure=reason))
        params = SamplingParams(
            n=request.n,
            temperature=request.temperature,
            top_p=request.top_p if request.temperature > 0 else 1.0,
            max_tokens=request.max_tokens,
            seed=request.seed,
            logprobs=0,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

        def finish(output: Any) -> SampleReply:
            samples = [
                Sample(
                    text=part.text.strip(),
                    token_ids=list(part.token_ids),
                    logprobs=[step[token].logprob for token, step in zip(part.token_ids, part.logprobs, strict=True)],
                    finish_reason=str(part.finish_reason),
                    seed=request.seed + part.index,
                )
                for part in sorted(output.outputs, key=lambda part: part.index)
            ]
            return SampleReply(request.id, prompt, samples, weights_id)

        return self._ask(_Ask(prompt, params, self._weights.lora if request.adapter else None, finish))

    def choose(self, request: ChoiceRequest) -> "Future[ChoiceReply]":
        """Queue a question whose answer is one of a few choices; always answered by the base model."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        started = time.monotonic()
        prompt = self._encode(request.messages) + self._plain_tokens(request.prefix)
        if len(prompt) + 1 > self._context:
            reason = f"prompt of {len(prompt)} tokens exceeds the context of {self._context}"
            return _done(ChoiceReply([], len(prompt), 0, 0.0, failure=reason))
        tokens = [self._choice_token(choice, request.prefix) for choice in request.choices]
        if len(set(tokens)) < len(tokens):
            return _done(ChoiceReply([], len(prompt), 0, 0.0, failure=f"choices {request.choices} share a first token"))
        params = SamplingParams(
            max_tokens=1,
            temperature=0.0,
            allowed_token_ids=tokens,
            logprob_token_ids=tokens,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

        def finish(output: Any) -> ChoiceReply:
            self.prefill.add(len(prompt), output.num_cached_tokens)
            step = output.outputs[0].logprobs[0]
            logprobs = [float(step[token].logprob) for token in tokens]
            best = request.choices[max(range(len(tokens)), key=logprobs.__getitem__)]
            return ChoiceReply(logprobs, len(prompt), 1, time.monotonic() - started, text=best)

        return self._ask(_Ask(prompt, params, None, finish))

    def chat(self, request: ChatRequest) -> "Future[ChatReply]":
        """Queue a judge's question that is answered with a text; always answered by the base model."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        started = time.monotonic()
        prompt = self._encode(request.messages)
        if len(prompt) + request.max_tokens > self._context:
            reason = (
                f"prompt of {len(prompt)} tokens and an answer of up to {request.max_tokens} "
                f"exceed the context of {self._context}"
            )
            return _done(ChatReply("", "", len(prompt), 0, 0.0, failure=reason))
        temperature = 1.0 if request.temperature is None else request.temperature
        params = SamplingParams(
            temperature=temperature,
            max_tokens=request.max_tokens,
            seed=request.seed if temperature > 0 else None,
            structured_outputs=StructuredOutputsParams(json=request.schema) if request.schema else None,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

        def finish(output: Any) -> ChatReply:
            self.prefill.add(len(prompt), output.num_cached_tokens)
            answer, seconds = output.outputs[0], time.monotonic() - started
            reason, tokens = str(answer.finish_reason), len(answer.token_ids)
            if reason not in ("stop", "length"):
                return ChatReply("", "", len(prompt), tokens, seconds, failure=f"vLLM ended the answer with {reason}")
            return ChatReply(answer.text, reason, len(prompt), tokens, seconds)

        return self._ask(_Ask(prompt, params, None, finish))

    def score(self, request: ScoreRequest) -> "Future[list[float]]":
        """Queue a token sequence; its reply is the log-probability of each token from `start` on."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        if len(request.token_ids) + 1 > self._context or request.start < 1:
            raise WorkError(
                f"cannot score {len(request.token_ids)} tokens from {request.start} on in a context of {self._context}"
            )
        params = SamplingParams(
            max_tokens=1, temperature=0.0, prompt_logprobs=0, output_kind=RequestOutputKind.FINAL_ONLY
        )

        def finish(output: Any) -> list[float]:
            tokens = request.token_ids
            return [output.prompt_logprobs[i][tokens[i]].logprob for i in range(request.start, len(tokens))]

        # With adapters enabled vLLM computes a prompt's logits by the adapters of the batch's requests, not of the
        # prompt's tokens: beside other requests it fails, or worse.
        lora = self._weights.lora if request.adapter else None
        return self._ask(_Ask(list(request.token_ids), params, lora, finish, alone=True))

    def update(self, policy: PolicyWeights, folder: str) -> "Future[float]":
        """Queue new weights, to be loaded when nothing runs; replies with the probe's largest difference."""
        return self._call(lambda: self._weights.load(policy, folder))

    @property
    def alive(self) -> bool:
        """Whether the engine still answers; once False, it never will again."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop the stepping thread; requests in flight fail."""
        self._inbox.put(None)
        self._thread.join(timeout=10)

    def _ask(self, ask: _Ask) -> "Future[Any]":
        self._inbox.put(ask)
        return ask.future

    def _call(self, function: Callable[[], Any]) -> "Future[Any]":
        future: Future[Any] = Future()
        self._inbox.put((function, future))
        return future

    def _encode(self, messages: list[dict[str, str]]) -> list[int]:
        encoded = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=False
        )
        return list(encoded)

    def _plain_tokens(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False)) if text else []

    def _choice_token(self, choice: str, prefix: str) -> int:
        # Encoded as it follows the prefix: many tokenizers give " A" and "A" different tokens.
        if not prefix:
            return self._plain_tokens(choice)[0]
        return self._plain_tokens(prefix + choice)[len(self._plain_tokens(prefix)) :][0]

    def _loop(self) -> None:
        try:
            while self._take():
                self._step()
        except BaseException as error:
            # The engine is lost; whoever waits must hear of it, and the pool starts another.
            self._fail_all(error)
            raise
        self._fail_all(WorkError("the engine was closed"))

    def _take(self) -> bool:
        """Move what waits into vLLM; block while there is nothing to do. False once closed."""
        while True:
            try:
                item = self._inbox.get(block=not self._running)
            except queue.Empty:
                return True
            if item is None:
                return False
            if isinstance(item, _Ask) and not item.alone:
                self._add(item)
                continue
            self._finish_running()
            if isinstance(item, _Ask):
                self._add(item)
                self._finish_running()
            else:
                function, future = item
                try:
                    future.set_result(function())
                except Exception as error:
                    future.set_exception(error)

    def _add(self, ask: _Ask) -> None:
        key = str(self._count)
        self._count += 1
        try:
            self._engine.add_request(key, {"prompt_token_ids": ask.prompt_token_ids}, ask.params, lora_request=ask.lora)
        except ValueError as error:
            ask.future.set_exception(WorkError(f"vLLM refused the request: {error}"))
            return
        self._running[key] = ask

    def _finish_running(self) -> None:
        while self._running:
            self._step()

    def _step(self) -> None:
        for output in self._engine.step():
            if output.finished:
                ask = self._running.pop(output.request_id)
                ask.future.set_result(ask.finish(output))

    def _fail_all(self, error: BaseException) -> None:
        for ask in self._running.values():
            ask.future.set_exception(WorkError(f"the engine stopped: {error}"))
        self._running.clear()
        while not self._inbox.empty():
            item = self._inbox.get()
            if item is not None:
                future = item.future if isinstance(item, _Ask) else item[1]
                future.set_exception(WorkError(f"the engine stopped: {error}"))


def _done(value: Any) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_result(value)
    return future
