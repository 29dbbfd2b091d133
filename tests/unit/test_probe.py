"""The probe tells the trained weights from those before, whatever single tokens do, and says where it cannot."""

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rlaif.errors import WorkError
from rlaif.inference.vllm.probe import DEFAULT_LIMITS, ProbeResult, check_probe
from rlaif.store.events import WeightsLoaded
from rlaif.store.policy_weights import Probe, ProbeSequence
from rlaif.store.records.round_records import BaseModelRecord, PolicyRecord

BF16 = DEFAULT_LIMITS["bfloat16"]
LENGTHS = (100, 180, 40, 80)
# Two right kernels in bfloat16 on real text: 0.009 nats a token at most on the mean.
NOISE = 0.009 * math.sqrt(math.pi / 2)


class Training:
    """Log-probabilities before and after a training that moves each token by `moved` nats on the mean."""

    def __init__(self, moved: float, seed: int = 0) -> None:
        self.draw = np.random.default_rng(seed)
        self.before = [-self.draw.exponential(2.0, size=length) for length in LENGTHS]
        scale = moved * math.sqrt(math.pi / 2)
        self.after = [logps + self.draw.normal(0, scale, len(logps)) for logps in self.before]

    @property
    def probe(self) -> Probe:
        return Probe(
            [
                ProbeSequence([0] * (5 + len(new)), 5, new.tolist(), old.tolist())
                for old, new in zip(self.before, self.after, strict=True)
            ]
        )

    def engine(self, of: list[NDArray[np.float64]], noise: float, outlier: float = 0.0) -> list[list[float]]:
        """What an engine with these weights finds; one token is off by an outlier."""
        found = [logps + self.draw.normal(0, noise, len(logps)) for logps in of]
        found[1][7] += outlier
        return [logps.tolist() for logps in found]


@pytest.mark.parametrize("seed", range(20))
def test_noise_as_in_bfloat16_passes_with_single_tokens_far_off(seed: int) -> None:
    training = Training(moved=0.05, seed=seed)
    result = check_probe(training.probe, training.engine(training.after, NOISE, outlier=0.47), BF16)
    assert result.difference == pytest.approx(0.0102, abs=0.002)
    assert result.moved == pytest.approx(0.05, rel=0.15)
    assert result.told_apart


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("noise", [NOISE, 1e-5])
def test_stale_weights_are_found_after_a_training_that_moves_every_token_a_little(seed: int, noise: float) -> None:
    """The largest move is below 0.1 nats, and the mean within what bfloat16 may differ by."""
    training = Training(moved=0.018, seed=seed)
    assert max(np.abs(a - b).max() for a, b in zip(training.after, training.before, strict=True)) < 0.1
    with pytest.raises(WorkError, match="the engine answers with the weights before the training"):
        check_probe(training.probe, training.engine(training.before, noise), BF16)
    assert check_probe(training.probe, training.engine(training.after, noise), BF16).told_apart


def test_other_weights_are_refused_by_the_mean() -> None:
    training = Training(moved=0.5)
    with pytest.raises(WorkError, match=r"nats a token from the trainer's, more than training.max_probe_difference"):
        check_probe(training.probe, training.engine(training.after, 0.1), BF16)
    undefined = [[math.nan] * length for length in LENGTHS]
    with pytest.raises(WorkError, match="does not answer with the trained weights"):
        check_probe(training.probe, undefined, BF16)


@pytest.mark.parametrize("stale", [False, True])
def test_a_training_that_moves_nothing_measurable_says_so(stale: bool) -> None:
    training = Training(moved=1e-4)
    result = check_probe(training.probe, training.engine(training.before if stale else training.after, NOISE), BF16)
    assert not result.told_apart
    event = WeightsLoaded(
        policy="abc", kind="full", probe_difference=result.difference, probe_moved=result.moved,
        told_apart=result.told_apart, seconds=1.0,
    )  # fmt: skip
    assert event.notice is not None
    assert "moved a probe's log-probabilities by 9.9e-05 nats a token, too little to tell" in event.notice


def test_an_engine_that_is_told_apart_or_was_not_probed_says_nothing() -> None:
    assert WeightsLoaded(policy="a", kind="base", probe_difference=0.0, seconds=1.0).notice is None
    told = WeightsLoaded(policy="a", kind="lora", probe_difference=0.0, probe_moved=0.1, told_apart=True, seconds=1.0)
    assert told.notice is None


def test_one_engine_of_several_that_cannot_be_told_apart_decides() -> None:
    assert ProbeResult.worst([]) is None
    two = [ProbeResult(0.001, 0.02, True), ProbeResult(0.004, 0.02, False)]
    assert ProbeResult.worst(two) == ProbeResult(0.004, 0.02, False)


def test_the_probe_of_an_older_run_is_read_and_checked_by_the_mean(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    record = PolicyRecord(
        id="a", kind="lora", base=BaseModelRecord(model="m", id="b"), parent="b", round=0, files={},
        probe={"token_ids": [1, 2, 3], "logprobs": [-1.0, -2.0]},  # type: ignore[arg-type]
    )  # fmt: skip
    assert record.probe == Probe([ProbeSequence([1, 2, 3], 1, [-1.0, -2.0], None)])
    record.write(str(path))
    assert PolicyRecord.read(str(path)) == record
    assert check_probe(record.probe, [[-1.01, -2.0]], BF16) == ProbeResult(pytest.approx(0.005))  # type: ignore[arg-type]
    with pytest.raises(WorkError):
        check_probe(record.probe, [[-1.0, -2.2]], BF16)
