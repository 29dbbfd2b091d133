"""The engine pools of a run, the resources of pools and training, and the settings of commands without a run."""

from collections.abc import Collection

import pytest

from rlaif.cluster.resources import ClusterDemand, Resources
from rlaif.data.criteria import Criterion
from rlaif.data.question import Question
from rlaif.errors import UserError
from rlaif.evaluation.answering import PredictSettings
from rlaif.inference.pools import RunPools, judge_context
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.llm import criteria_tokens
from rlaif.judges.serving import serving_settings
from rlaif.models.builtin import BUILTIN
from rlaif.recipe import (
    ClusterSection,
    EnginesSection,
    LoraSection,
    PolicySection,
    SamplingSection,
    TrainersSection,
    TrainingSection,
    parse_overrides,
)
from rlaif.store.events import ignore_event

POLICY = PolicySection(model=BUILTIN, max_length=1024)
SAMPLING = SamplingSection(max_tokens=100)


def run_pools(judges: Collection[str], lora: LoraSection | None = None, criteria_tokens: int = 0) -> RunPools:
    training = TrainingSection(lora=lora)
    return RunPools(
        POLICY, SAMPLING, training, ClusterSection(), base_id="initial", judge_models=judges, judge_tokens=1,
        criteria_tokens=criteria_tokens, gpu=False, emit=ignore_event,
    )  # fmt: skip


def test_a_judge_of_the_initial_policy_shares_its_engines_only_with_an_adapter() -> None:
    shared = run_pools({"policy"}, LoraSection(rank=4))
    assert shared.pools == [shared.policy]
    assert shared.vllm("policy") is shared.policy
    assert shared.policy._spec.context == judge_context(POLICY, SAMPLING)
    assert shared.policy._spec.lora_rank == 4
    own = run_pools({"policy"})
    assert len(own.pools) == 2
    assert own.vllm("policy") is own.pools[1]
    assert (own.vllm("policy").identity, own.policy._spec.context) == ("initial", POLICY.max_length)


def test_the_room_for_criteria_is_that_of_the_questions_if_the_judge_is_shown_them() -> None:
    own = (Criterion("Unit", description="Is the unit given?" * 50),)
    questions = [Question("q", "Sales?"), Question("h", "Sales?", criteria=own)]
    tokens = criteria_tokens([load_judge_file("criteria")], questions)
    assert tokens >= len("Is the unit given?") * 50
    with_room = run_pools({"policy"}, LoraSection(rank=4), tokens).policy._spec.context
    assert with_room == judge_context(POLICY, SAMPLING) + tokens
    assert criteria_tokens([load_judge_file("finance-grounded")], questions) == 0


def test_each_other_model_of_a_judge_has_engines_of_its_own() -> None:
    pools = run_pools({"org/judge", "policy"}, LoraSection())
    assert [pool.identity for pool in pools.pools] == ["initial", "org/judge"]
    assert pools.vllm("org/judge") is pools.pools[1]
    assert pools.vllm("org/judge")._spec.lora_rank is None


@pytest.mark.parametrize(
    ("placement", "gpu", "sampling", "training"),
    [
        # Engines and workers take turns on GPUs; on a CPU engines reserve nothing.
        ("shared", True, Resources(gpus=8), Resources(3, 3)),
        ("shared", False, Resources(), Resources(cpus=3)),
        # Each keeps its own.
        ("split", True, Resources(11, 3), Resources(11, 3)),
        ("split", False, Resources(cpus=8), Resources(cpus=8)),
    ],
)
def test_the_resources_that_a_run_needs_at_once(
    placement: str, gpu: bool, sampling: Resources, training: Resources
) -> None:
    cluster = ClusterSection(
        placement=placement, policy=EnginesSection(engines=2, tensor_parallel=2 if gpu else 1),
        judge=EnginesSection(engines=4 if gpu else 3), training=TrainersSection(workers=3),
    )  # fmt: skip
    demand = ClusterDemand(cluster, gpu, (cluster.policy, cluster.judge), trains=True)
    assert (demand.sampling, demand.training) == (sampling, training)
    assert demand.takes_turns == (gpu and placement == "shared")
    without = ClusterDemand(cluster, gpu, (cluster.policy, cluster.judge))
    assert without.sampling == (Resources(gpus=8) if gpu else Resources(cpus=5 if placement == "split" else 0))


def test_a_smaller_cluster_has_room_for_some_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = {"GPU": 100, "CPU": 100}
    monkeypatch.setattr("ray.cluster_resources", lambda: devices)
    cluster = ClusterSection(
        placement="split", policy=EnginesSection(engines=8), judge=EnginesSection(engines=2),
        training=TrainersSection(workers=4),
    )  # fmt: skip
    demand = ClusterDemand(cluster, True, (cluster.policy, cluster.judge), trains=True)
    assert demand.engine_counts() == [8, 2]
    devices["GPU"] = 7
    assert demand.engine_counts() == [4, 1]


def test_overrides_set_how_a_judge_is_served() -> None:
    words = ["cluster.judge.engines=2", "policy.dtype=bfloat16", "sampling.attempts=1", "pairs.min_margin=0.2"]
    settings = serving_settings("org/model", words)
    assert (settings.policy.model, settings.policy.dtype) == ("org/model", "bfloat16")
    assert (settings.cluster.judge.engines, settings.sampling.attempts, settings.pairs.min_margin) == (2, 1, 0.2)
    assert serving_settings().policy.model == BUILTIN
    with pytest.raises(UserError, match=r"^--set: training: unknown key$"):
        serving_settings(overrides=["training.beta=0.2"])
    with pytest.raises(UserError, match="tensor_parallel above 1 needs GPUs"):
        serving_settings(overrides=["cluster.device=cpu", "cluster.judge.tensor_parallel=2"])


def test_overrides_set_how_questions_are_answered() -> None:
    given = {"policy": {"model": "org/model"}}
    words = ["policy.prompt=mine", "questions.heldout.columns.question=q", "evaluation.max_tokens=64"]
    settings = parse_overrides(PredictSettings, words, given)
    assert (settings.policy.model, settings.policy.prompt) == ("org/model", "mine")
    assert settings.questions.heldout.columns.question == "q"
    assert settings.evaluation.max_tokens == 64
    with pytest.raises(
        UserError, match=r"sampling.max_tokens \(4096\) leaves no room for a prompt in policy.max_length"
    ):
        parse_overrides(PredictSettings, ["sampling.max_tokens=4096"], given)
    assert given == {"policy": {"model": "org/model"}}
