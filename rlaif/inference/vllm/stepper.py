"""The thread that steps vLLM.

Invariant: only this thread touches vLLM once it runs, and every request that it takes gets exactly one answer, be it a
failure.
"""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from rlaif.errors import WorkError


@dataclass
class StepRequest:
    """A request on its way through vLLM.

    Attributes:
        params: vLLM's `SamplingParams`.
        lora: vLLM's request for the adapter that answers, or None for the base model.
        finish: turns vLLM's output into the reply.
        alone: keep every other request out of vLLM while this one runs.
    """

    prompt_token_ids: list[int]
    params: Any
    lora: Any
    finish: Callable[[Any], Any]
    alone: bool = False
    future: "Future[Any]" = field(default_factory=Future)


@dataclass
class _Call:
    """A function to be called while nothing runs in vLLM."""

    function: Callable[[], Any]
    future: "Future[Any]" = field(default_factory=Future)


class Stepper:
    """Runs requests through an `LLMEngine`, adding new ones between two steps: continuous batching."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._inbox: queue.SimpleQueue[StepRequest | _Call | None] = queue.SimpleQueue()
        self._running: dict[str, StepRequest] = {}
        self._count = 0
        self._thread = threading.Thread(target=self._loop, name="vllm-step", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether requests are still answered; once False, they never will be again."""
        return self._thread.is_alive()

    def submit(self, request: StepRequest) -> "Future[Any]":
        """Queue a request."""
        self._inbox.put(request)
        return request.future

    def call(self, function: Callable[[], Any]) -> "Future[Any]":
        """Queue a function that is called when nothing runs."""
        call = _Call(function)
        self._inbox.put(call)
        return call.future

    def close(self) -> None:
        """Stop the thread; requests in flight fail."""
        self._inbox.put(None)
        self._thread.join(timeout=10)

    def _loop(self) -> None:
        try:
            while self._take():
                self._step()
        except BaseException as error:
            # The engine is lost: fail all requests, so that the pool starts another.
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
            if isinstance(item, _Call):
                self._finish_running()
                try:
                    item.future.set_result(item.function())
                except Exception as error:
                    item.future.set_exception(error)
            elif item.alone:
                self._finish_running()
                self._add(item)
                self._finish_running()
            else:
                self._add(item)

    def _add(self, request: StepRequest) -> None:
        key = str(self._count)
        self._count += 1
        prompt = {"prompt_token_ids": request.prompt_token_ids}
        # Known before vLLM takes it, so that an error which ends the thread fails it too.
        self._running[key] = request
        try:
            self._engine.add_request(key, prompt, request.params, lora_request=request.lora)
        except ValueError as error:
            del self._running[key]
            request.future.set_exception(WorkError(f"vLLM refused the request: {error}"))

    def _finish_running(self) -> None:
        while self._running:
            self._step()

    def _step(self) -> None:
        for output in self._engine.step():
            if output.finished:
                request = self._running[output.request_id]
                reply = request.finish(output)
                del self._running[output.request_id]
                request.future.set_result(reply)

    def _fail_all(self, error: BaseException) -> None:
        failed: list[StepRequest | _Call] = list(self._running.values())
        self._running.clear()
        while not self._inbox.empty():
            if item := self._inbox.get():
                failed.append(item)
        for item in failed:
            item.future.set_exception(WorkError(f"the engine stopped: {error}"))
