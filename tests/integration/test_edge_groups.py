"""Unusual groups have a finite loss and a finite gradient."""

from pathlib import Path

import pytest
import torch

from rlaif.training.groups import Group, Pair, group_pairs
from tests.integration.test_trl_equality import LOSSES, SIMPO, our_step

PROMPT = (5, 6, 7)
EVERY = {**LOSSES, "simpo": SIMPO}


def group(*candidates: tuple[int, ...], pairs: tuple[tuple[int, int], ...] = ((0, 1),)) -> Group:
    return Group(PROMPT, candidates, tuple(Pair(f"{a}-{b}", a, b, -3.0, -4.0) for a, b in pairs))


CASES = {
    "an empty answer": [group((8, 9), ())],
    "both answers empty in one of two groups": [group((), (), pairs=((0, 1),)), group((8,), (9, 10))],
    "one candidate and no pair": [group((8, 9), pairs=()), group((8,), (9,))],
    "a single token": [group((8,), (9,))],
    "an answer that begins like the other": [group((8, 9), (8, 9, 10))],
    "a prompt as long as the model": [
        Group(tuple(range(3, 90)) + tuple(range(3, 34)), ((8, 9), (10,)), (Pair("p", 0, 1, -3.0, -4.0),))
    ],
}


@pytest.mark.parametrize("loss", EVERY)
@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradients_are_finite(case: str, loss: str, tmp_path: Path) -> None:
    value, gradients = our_step(CASES[case], EVERY[loss], False, tmp_path)
    assert value == value
    assert abs(value) < float("inf")
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())


def test_identical_candidates_are_one_and_teach_nothing(tmp_path: Path) -> None:
    """A pair of an answer with itself has the loss of no preference and a gradient of zero."""
    row = {"pair_id": "p", "prompt_token_ids": PROMPT, "chosen_token_ids": [8, 9], "rejected_token_ids": [8, 9]}
    (one,) = group_pairs([{**row, "ref_chosen_logp": -3.0, "ref_rejected_logp": -3.0}])
    assert len(one.candidates) == 1
    value, gradients = our_step([one], LOSSES["sigmoid"], False, tmp_path)
    assert value == pytest.approx(0.6931, abs=1e-4)
    assert all(gradient.abs().max() < 1e-6 for gradient in gradients.values())


def test_an_empty_answer_has_log_probability_zero(tmp_path: Path) -> None:
    value, _ = our_step([Group(PROMPT, ((), (8,)), (Pair("p", 0, 1, 0.0, -100.0),))], LOSSES["hinge"], False, tmp_path)
    # The rejected answer is far likelier than under the reference policy: 1 - 0.3 * (0 - (logp + 100)) is large.
    assert value > 20
