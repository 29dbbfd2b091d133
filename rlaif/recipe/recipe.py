"""A recipe: all of a run, from a YAML file and dotted overrides, or an error that names every fault."""

import warnings
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, model_validator

from rlaif.errors import RenamedWarning, UserError
from rlaif.io.renamed import Renamed, Renames
from rlaif.io.resources import find_resource
from rlaif.io.yaml_file import YamlMapping, dump_yaml, parse_mapping, read_mapping, validated
from rlaif.recipe.base import Section
from rlaif.recipe.cluster import ClusterSection
from rlaif.recipe.feedback import FeedbackSection
from rlaif.recipe.judge import JudgeSection, PairsSection
from rlaif.recipe.objectives import DpoPhase, Phase
from rlaif.recipe.phase import Amount, PhaseSection, amounts_of, check_amounts
from rlaif.recipe.phases import with_whole_phases
from rlaif.recipe.policy import PolicySection, SamplingSection
from rlaif.recipe.questions import QuestionsSection
from rlaif.recipe.reward import RewardSection
from rlaif.recipe.tracking import Trackers
from rlaif.recipe.training import LoraSection, TrainingSection

S = TypeVar("S", bound=Section)

RENAMED: Renames = {
    "judge.canaries": Renamed("gold_set"),
    "questions.*.columns.answer": Renamed("gold_answer", {"answer": "gold_answer"}, others=True),
    "training.max_drift": Renamed("max_mismatch"),
    "training.nll": Renamed("sft_weight"),
    # The old limit was of the largest difference of a token, the new one is of their mean.
    "training.probe_tolerance": Renamed(
        "max_probe_difference",
        {None: None},
        instead="max_probe_difference, which limits the mean of the tokens' differences rather than the largest; "
        "leave both out for its default",
    ),
}
"""Old keys that are still accepted."""


class GateSection(Section):
    """What a trained policy must pass on the held-out questions before it is promoted."""

    max_drop: float = Field(default=0.0, ge=0, le=1)
    """How far the held-out score may be below that of the current policy, and of the best one so far. Where not every
    held-out question has a gold answer, how far the win rate against them may be below one half. 0 asks for a gain."""
    confidence: float | None = Field(default=0.9, gt=0.5, lt=1)
    """How sure that must be: the lower end of the change's one-sided interval decides, paired by question. An unchanged
    policy then passes at most one time in ten where `max_drop` is 0, and more often the larger it is. null compares the
    means alone, which an unchanged policy passes every other time."""
    on_fail: Literal["continue", "stop"] = "continue"
    """`continue` samples the next round from the policy that is current; `stop` ends the run."""


class RoundsSection(Section):
    """The loop."""

    count: int = Field(default=2, ge=1, le=10_000)
    """Rounds of a run; a finished run with a larger count goes on where it ended."""
    questions: Amount | list[Amount] = Field(default=1.0)
    """Questions a round takes: a count (`64`), a share of the train set (`0.2`), or a list with one of either for each
    round. `1` is one question, `1.0` all of them."""
    staleness: int = Field(default=0, ge=0, le=1)
    """`1` samples the next round while this one trains, with the policy at hand, which is then one round behind; needs
    `cluster.placement: split`. `0` samples each round from the policy that is current when it begins."""
    gate: GateSection = GateSection()
    """When a policy is promoted."""

    @model_validator(mode="after")
    def _increments_are_positive(self) -> "RoundsSection":
        check_amounts(self.questions, self.count)
        return self


class EvaluationSection(Section):
    """What is measured on the held-out questions after every round."""

    max_tokens: int | None = Field(default=None, ge=1)
    """Longest answer in tokens, below `policy.max_length`; null takes `sampling.max_tokens`."""
    kl_questions: int = Field(default=32, ge=0)
    """Held-out questions whose answers estimate the KL divergence to the initial policy; 0 leaves it out."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Level of all intervals."""


class Recipe(Section):
    """All of a run: what it learns from, how, and where."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """Name of the run and of its folder under `runs/`; the recipe file's name where it is left out."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of everything drawn: the order of questions, the candidates, the training, the intervals."""
    policy: PolicySection
    questions: QuestionsSection
    sampling: SamplingSection = SamplingSection()
    judge: JudgeSection
    pairs: PairsSection = PairsSection()
    feedback: FeedbackSection = FeedbackSection()
    reward: RewardSection = RewardSection()
    training: TrainingSection = TrainingSection()
    rounds: RoundsSection = RoundsSection()
    phases: list[Phase] | None = None
    """Rounds with different objectives, in order; null is one phase of objective `dpo`, with the sections above."""
    evaluation: EvaluationSection = EvaluationSection()
    cluster: ClusterSection = ClusterSection()
    tracking: Trackers = ()
    """Experiment trackers: names, such as `[wandb, tensorboard]`, or sections with a name; see
    [tracking.md](tracking.md)."""

    @property
    def every_phase(self) -> list[PhaseSection]:
        """The phases, at least one; each holds all that its rounds use."""
        if self.phases is not None:
            return list(self.phases)
        whole = {name: getattr(self, name) for name in ("sampling", "judge", "pairs", "training")}
        rounds, questions = self.rounds.count, self.rounds.questions
        return [DpoPhase.model_construct(objective="dpo", name=None, rounds=rounds, questions=questions, **whole)]

    @property
    def longest_sampling(self) -> SamplingSection:
        """The sampling of the phase with the longest candidates: what a judge's engines must have room for."""
        sampled = [phase.sampling for phase in self.every_phase if phase.sampling is not None]
        return max(sampled, key=lambda sampling: sampling.max_tokens, default=self.sampling)

    def title_of(self, number: int) -> str | None:
        """Return the title of the phase that a round belongs to; None where the recipe has no phases."""
        return self.phases[self.locate(number)[0]].title if self.phases else None

    def question_amounts(self, number: int) -> list[Amount]:
        """Return the amount of each round up to `number` that takes questions of the train set."""
        phases = [phase for phase in self.every_phase for _ in range(phase.rounds)]
        each = amounts_of(self.rounds.questions, number + 1)
        return [amount for amount, phase in zip(each, phases, strict=False) if phase.takes_questions]

    def locate(self, number: int) -> tuple[int, int]:
        """Return the index of the phase that a round belongs to, and the round's number within it."""
        for index, phase in enumerate(self.every_phase):
            if number < phase.rounds:
                return index, number
            number -= phase.rounds
        raise IndexError(f"no phase has {number} rounds more than all phases")

    def phase_of(self, number: int) -> PhaseSection:
        """Return the phase that a round belongs to."""
        return self.every_phase[self.locate(number)[0]]

    @model_validator(mode="before")
    @classmethod
    def _has_whole_phases(cls, tree: Any) -> Any:
        return with_whole_phases(tree) if isinstance(tree, dict) else tree

    @model_validator(mode="after")
    def _phases_share_engines(self) -> "Recipe":
        """Engines live as long as a run: what they are made of cannot differ between its phases."""
        for index, phase in enumerate(self.phases or ()):
            if phase.sampling is not None:
                check_lengths(self.policy, phase.sampling, self.evaluation)
            for section, names in (("training", ("lora", "max_probe_difference")), ("judge", ("gold_set", "max_cost"))):
                own, shared = getattr(phase, section), getattr(self, section)
                for name in names if own is not None else ():
                    if getattr(own, name) != getattr(shared, name):
                        raise ValueError(f"phases.{index}.{section}.{name}: expected it in `{section}`, for all phases")
        return self

    def with_lora(self, lora: LoraSection) -> "Recipe":
        """Return the recipe with other settings of the adapter, in all phases."""
        training = self.training.model_copy(update={"lora": lora})
        phases = self.phases and [
            phase.model_copy(update={"training": phase.training.model_copy(update={"lora": lora})})
            for phase in self.phases
        ]
        return self.model_copy(update={"training": training, "phases": phases})

    @model_validator(mode="after")
    def _feedback_is_learned_from(self) -> "Recipe":
        for name in ("preferences", "people"):
            if getattr(self.feedback, name) and all(phase.objective != "dpo" for phase in self.every_phase):
                raise ValueError(f"feedback.{name}: no phase learns from preferences; expected one of objective dpo")
        return self

    @model_validator(mode="after")
    def _settings_work_together(self) -> "Recipe":
        check_lengths(self.policy, self.sampling, self.evaluation)
        if self.phases is None:
            self.sampling.check_rounds(self.rounds.count)
        for index, phase in enumerate(self.phases or ()):
            if phase.objective == "ppo" and self.cluster.training.strategy != "ddp":
                raise ValueError(
                    f"phases.{index}.objective: ppo trains a value head beside the policy, which workers do not shard; "
                    "expected cluster.training.strategy: ddp"
                )
        if self.rounds.staleness and self.cluster.placement != "split":
            raise ValueError(
                "rounds.staleness: 1 samples while the trainer trains, but engines and trainer take turns with "
                "cluster.placement: shared; expected split"
            )
        return self


def check_lengths(policy: PolicySection, sampling: SamplingSection, evaluation: EvaluationSection) -> None:
    """Raise ValueError if an answer may be so long that it leaves no room for a prompt."""
    lengths = {"sampling.max_tokens": sampling.max_tokens, "evaluation.max_tokens": evaluation.max_tokens or 0}
    for name, tokens in lengths.items():
        if tokens >= policy.max_length:
            raise ValueError(
                f"{name} ({tokens}) leaves no room for a prompt in policy.max_length ({policy.max_length}); "
                "expected less"
            )


def load_recipe(name: str, overrides: Iterable[str] | None = None, cluster: str | None = None) -> Recipe:
    """Read, override and check a recipe.

    Args:
        name: path of a YAML file, or the name of a recipe in `./recipes` or the installed ones.
        overrides: `a.b=value` each, the value in YAML; later ones win, and all over the cluster file.
        cluster: path of a YAML file whose `cluster` section replaces the recipe's own.

    Raises:
        UserError: with the file, the line, the key and what was expected.
    """
    path = find_resource("recipes", name)
    mapping = read_mapping(path, RENAMED)
    mapping.tree.setdefault("name", path.stem)
    if cluster is not None:
        mapping.replace("cluster", _read_cluster(cluster))
    return _overridden(Recipe, mapping, overrides)


def parse_recipe(text: str, origin: str, overrides: Iterable[str] | None = None) -> Recipe:
    """Check the text of a recipe; `origin` names it in messages. See `load_recipe`."""
    return _overridden(Recipe, parse_mapping(text, origin, renames=RENAMED), overrides)


def stored_recipe(text: str, origin: str, overrides: Iterable[str] | None = None) -> Recipe:
    """Check the `recipe.yaml` of a run; nobody edits it, so its old keys raise no warning. See `load_recipe`."""
    return _overridden(Recipe, _stored(text, origin), overrides)


def stored_tree(text: str, origin: str) -> dict[str, Any]:
    """Return the values of a run's `recipe.yaml` under today's keys, unchecked."""
    return _stored(text, origin).tree


def parse_overrides(kind: type[S], overrides: Iterable[str], given: Mapping[str, Any] | None = None) -> S:
    """Return a section with overrides of the values given, such as {"policy": {"model": ...}}, or of its defaults."""
    return _overridden(kind, YamlMapping(deepcopy(dict(given or {})), {(): ("--set", None)}, RENAMED), overrides)


def dump_recipe(recipe: Recipe) -> str:
    """Return the resolved recipe, defaults and all, as YAML."""
    return dump_yaml(recipe_tree(recipe))


def recipe_tree(recipe: Recipe) -> dict[str, Any]:
    """Return the resolved recipe, defaults and all, as plain values; no secret is among them."""
    return recipe.model_dump(mode="json")


def _stored(text: str, origin: str) -> YamlMapping:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RenamedWarning)
        mapping = parse_mapping(text, origin, renames={old: new for old, new in RENAMED.items() if not new.instead})
    for old in (old for old, new in RENAMED.items() if new.instead):
        section, _, key = old.partition(".")
        if isinstance(values := mapping.tree.get(section), dict):
            # Its value means something else today, so the default is in its place.
            values.pop(key, None)
    return mapping


def _overridden(kind: type[S], mapping: YamlMapping, overrides: Iterable[str] | None) -> S:
    for override in overrides or ():
        mapping.override(override)
    return validated(TypeAdapter(kind), mapping)


def _read_cluster(name: str) -> YamlMapping:
    if not Path(name).is_file():
        raise UserError(f"--cluster {name}: no such file")
    mapping = read_mapping(Path(name))
    if mapping.tree.keys() != {"cluster"} or not isinstance(mapping.tree["cluster"], dict):
        raise UserError(f"--cluster {name}: expected one section, `cluster:`, as in a recipe")
    return mapping
