"""The pydantic tree of a recipe: all of a run in one YAML file. Imports neither torch, vllm nor ray."""

from rlaif.recipe.cluster import ClusterSection, EnginesSection, TrainersSection
from rlaif.recipe.documents import DocumentsSection
from rlaif.recipe.feedback import FeedbackSection, HumanPreferencesSection, PeopleSection
from rlaif.recipe.judge import GoldSetSection, JudgeSection, PairsSection
from rlaif.recipe.objectives import BestOfN, DemonstrationFile, DpoPhase, GoldAnswers, KtoPhase, RatingFile, SftPhase
from rlaif.recipe.phase import Amount, PhaseSection, amounts_of
from rlaif.recipe.policy import PolicySection, SamplingSection
from rlaif.recipe.policy_gradients import (
    GrpoSection,
    PolicyGradientPhase,
    PolicyGradientSection,
    PpoSection,
    RlooSection,
)
from rlaif.recipe.questions import Columns, DatasetQuestions, DemoQuestions, FileQuestions, QuestionSource
from rlaif.recipe.recipe import (
    EvaluationSection,
    GateSection,
    Recipe,
    RoundsSection,
    dump_recipe,
    load_recipe,
    parse_overrides,
    parse_recipe,
    stored_recipe,
    stored_tree,
)
from rlaif.recipe.training import (
    PER_TOKEN_LOSSES,
    KtoSection,
    LoraSection,
    OptimizerSection,
    PolicyTrainingSection,
    PreferenceLoss,
    RatingsSection,
    SftSection,
    TrainingSection,
)

__all__ = [
    "PER_TOKEN_LOSSES", "Amount", "BestOfN", "ClusterSection", "Columns", "DatasetQuestions", "DemoQuestions",
    "DemonstrationFile", "DocumentsSection", "DpoPhase", "EnginesSection", "EvaluationSection", "FeedbackSection",
    "FileQuestions",
    "GateSection", "GoldAnswers", "GoldSetSection", "GrpoSection", "HumanPreferencesSection", "JudgeSection",
    "KtoPhase", "KtoSection", "LoraSection", "OptimizerSection", "PairsSection", "PeopleSection", "PhaseSection",
    "PolicyGradientPhase", "PolicyGradientSection", "PolicySection", "PolicyTrainingSection", "PpoSection",
    "PreferenceLoss", "QuestionSource", "RatingFile", "RatingsSection", "Recipe", "RlooSection", "RoundsSection",
    "SamplingSection", "SftPhase", "SftSection", "TrainersSection", "TrainingSection", "amounts_of", "dump_recipe",
    "load_recipe", "parse_overrides", "parse_recipe", "stored_recipe", "stored_tree",
]  # fmt: skip
