"""The reference policy `initial` is policy 0, which is loaded again only where the training does not start from it.

Of `previous` the trainer computes what no engine sampled, and all where the engine's cannot be trusted.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rlaif.recipe import TrainersSection, TrainingSection
from rlaif.training import reference_scores
from rlaif.training.dpo.reference_policy import settle_reference
from rlaif.training.groups import Group, Pair, with_reference
from rlaif.training.job import StartingWeights, TrainingJob
from rlaif.training.models import load_initial, load_policy, score_groups
from tests.tiny import save_chat_model

WORDS = [f"w{number}" for number in range(10)]
GROUPS = [Group((3, 6, 7, 8), ((9, 10, 2), (11, 2)), (Pair("p", 0, 1, -9.0, -9.0),))]


def test_policy_0_is_loaded_once_by_its_own_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = save_chat_model(tmp_path / "first", WORDS)
    later = save_chat_model(tmp_path / "later", WORDS, rope_parameters={"rope_type": "default", "rope_theta": 10.0})
    loaded: list[StartingWeights] = []

    def counted(start: StartingWeights, *rest: Any, **named: Any) -> Any:
        loaded.append(start)
        return load_initial(start, *rest, **named)

    monkeypatch.setattr(reference_scores, "load_initial", counted)
    settings = TrainingSection(reference="initial")
    references = []
    for name, path in {"round-0": "", "round-1": later}.items():
        (tmp_path / name).mkdir()
        start = replace(StartingWeights(first, None, "float32"), path=path, id=name if path else "")
        job = TrainingJob(
            start=start, rows=str(tmp_path / name / "pairs.parquet"), out="", settings=settings, seed=0, gpu=False,
            workers=TrainersSection(),
        )  # fmt: skip
        model = load_policy(start, first, None, gpu=False)
        references.append(settle_reference(GROUPS, model, first, job))
    assert [start.path for start in loaded] == [later]
    one, other = (found.groups[0].pairs[0].ref_chosen_logp for found in references)
    assert one == pytest.approx(other, abs=1e-6)
    assert {found.origin for found in references} == {"trainer"}


def test_a_loss_without_a_reference_policy_computes_none(tmp_path: Path) -> None:
    """The groups' own, here of no policy, stay as they are, and nothing is written."""
    settings = TrainingSection(loss="simpo", beta=2.0)
    without = [with_reference(group, [math.nan, math.nan]) for group in GROUPS]
    job = TrainingJob(
        start=StartingWeights("", None, "float32"), rows=str(tmp_path / "pairs.parquet"), out="", settings=settings,
        seed=0, gpu=False, workers=TrainersSection(),
    )  # fmt: skip
    found = settle_reference(without, None, "", job)
    assert (found.origin, found.mismatch, found.groups) == ("none", None, without)
    assert not list(tmp_path.iterdir())


def test_length_desensitized_references_are_of_each_pairs_common_length(tmp_path: Path) -> None:
    """Those of engines are of whole answers, and are not taken; a pair's longer answer counts by its beginning."""
    folder = save_chat_model(tmp_path / "model", WORDS)
    start = StartingWeights(folder, None, "float32", id="now")
    pairs = (Pair("p", 0, 1, -9.0, -9.0), Pair("q", 2, 0, -9.0, -9.0))
    group = Group((3, 6, 7, 8), ((9, 10, 2), (11, 2), (12, 2, 13, 14)), pairs, policy="now")
    model = load_policy(start, folder, None, gpu=False)

    def references(**settings: Any) -> tuple[str, list[tuple[float, float]]]:
        place = tmp_path / f"round-{len(list(tmp_path.iterdir()))}"
        place.mkdir()
        job = TrainingJob(
            start=start, rows=str(place / "pairs.parquet"), out="", settings=TrainingSection(**settings), seed=0,
            gpu=False, workers=TrainersSection(),
        )  # fmt: skip
        found = settle_reference([group], model, folder, job)
        return found.origin, [(pair.ref_chosen_logp, pair.ref_rejected_logp) for pair in found.groups[0].pairs]

    whole, whole_logps = references(reference="initial")
    none, heads = references(ld_alpha=0.0)
    half, mixed = references(ld_alpha=0.5, reference="initial")
    assert {whole, none, half} == {"trainer"}
    ((first_two, second, third_three),) = score_groups(
        model, [replace(group, candidates=((9, 10), (11, 2), (12, 2, 13)))], 100, False
    )
    ((first, *_),) = score_groups(model, [group], 100, False)
    assert heads[0] == pytest.approx((first_two, second), abs=1e-5)
    assert heads[1] == pytest.approx((third_three, first), abs=1e-5)
    for given, head, full in zip(mixed, heads, whole_logps, strict=True):
        assert given == pytest.approx([(a + b) / 2 for a, b in zip(head, full, strict=True)], abs=1e-5)


@pytest.mark.parametrize(("error", "origin"), [(1e-6, "both"), (3.0, "trainer")])
def test_what_no_engine_sampled_is_computed_alone(tmp_path: Path, error: float, origin: str) -> None:
    folder = save_chat_model(tmp_path / "model", [f"w{number}" for number in range(10)])
    start = StartingWeights(folder, None, "float32", id="p0")
    job = TrainingJob(
        start=start, rows=str(tmp_path / "pairs.parquet"), out="", settings=TrainingSection(), seed=0, gpu=False,
        workers=TrainersSection(),
    )  # fmt: skip
    model = load_policy(start, folder, None, gpu=False)
    nobody = Pair("h", 0, 1, math.nan, math.nan)
    sampled = replace(GROUPS[0], policy="p0")
    preference, earlier = replace(GROUPS[0], pairs=(nobody,)), replace(GROUPS[0], policy="before p0")
    (exact,) = score_groups(model, [sampled], 2048, False)
    sampled = with_reference(sampled, [logp + sign * error for logp, sign in zip(exact, (1, -1), strict=True)])
    for expected in (origin, "stored"):
        found = settle_reference([sampled, preference, earlier], model, folder, job)
        assert found.origin == expected
        assert found.mismatch is not None
        own, added, former = found.groups
        assert added.pairs[0].ref_chosen_logp == pytest.approx(exact[0], abs=1e-5)
        assert (own == sampled) == (origin == "both")
        assert own.pairs[0].ref_rejected_logp == pytest.approx(exact[1], abs=1e-5)
        # Only the engine has those of an earlier policy.
        assert former == earlier
