"""The thread that steps vLLM answers every request, also when it ends by an error."""

from collections.abc import Callable
from typing import Any

import pytest

from rlaif.errors import WorkError
from rlaif.inference.vllm.stepper import Stepper, StepRequest


class Output:
    """A finished output of one request."""

    finished = True

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id


class Engine:
    """Finishes each request in the step after it came."""

    def __init__(self, refuse: Exception | None = None) -> None:
        self.refuse = refuse
        self.waiting: list[str] = []

    def add_request(self, key: str, prompt: Any, params: Any, lora_request: Any) -> None:
        if self.refuse:
            raise self.refuse
        self.waiting.append(key)

    def step(self) -> list[Output]:
        done = [Output(key) for key in self.waiting]
        self.waiting.clear()
        return done


def request(finish: Callable[[Any], Any] = lambda output: output.request_id) -> StepRequest:
    return StepRequest([1], None, None, finish)


def test_each_request_gets_its_reply() -> None:
    stepper = Stepper(Engine())
    futures = [stepper.submit(request()) for _ in range(5)]
    assert [future.result(5) for future in futures] == ["0", "1", "2", "3", "4"]
    stepper.close()


def test_a_request_that_vllm_refuses_fails_alone() -> None:
    engine = Engine(ValueError("too long"))
    stepper = Stepper(engine)
    with pytest.raises(WorkError, match="refused the request: too long"):
        stepper.submit(request()).result(5)
    engine.refuse = None
    assert stepper.submit(request()).result(5) == "1"
    stepper.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_reply_that_cannot_be_made_ends_the_thread_and_fails_its_request() -> None:
    def broken(output: Any) -> Any:
        raise RuntimeError("no log-probabilities")

    stepper = Stepper(Engine())
    with pytest.raises(WorkError, match="the engine stopped: no log-probabilities"):
        stepper.submit(request(broken)).result(5)
    stepper._thread.join(5)
    assert not stepper.alive


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_engine_that_breaks_as_it_takes_a_request_fails_that_request() -> None:
    stepper = Stepper(Engine(RuntimeError("CUDA error")))
    with pytest.raises(WorkError, match="the engine stopped: CUDA error"):
        stepper.submit(request()).result(5)
