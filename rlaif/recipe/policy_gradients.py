"""Policy gradients: the settings of their trainings and their phases."""

from typing import Literal, Self

from pydantic import Field, model_validator

from rlaif.recipe.judge import JudgeSection
from rlaif.recipe.phase import PhaseSection
from rlaif.recipe.policy import SamplingSection
from rlaif.recipe.training import PolicyTrainingSection


class PolicyGradientSection(PolicyTrainingSection):
    """Policy gradients on the answers of a round; what all their objectives share."""

    per_step_key = "questions_per_step"

    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """How the rate falls after the warm-up."""
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Share of the steps over which the rate rises from zero."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the answers, each in another order."""
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """How far a ratio of the policy's probability to that before the training may fall below 1 and still teach
    (Schulman et al. 2017, arXiv:1707.06347)."""
    clip_high: float = Field(default=0.2, gt=0)
    """How far it may rise above 1."""
    kl: float = Field(default=0.0, ge=0)
    """Strength of the pull towards the reference policy; 0 needs none."""
    reference: Literal["initial", "previous"] = "initial"
    """The policy that `kl` pulls towards: the initial one, or the one before this training."""
    max_importance: float | None = Field(default=2.0, ge=1)
    """Largest weight of a token for what sampled it: the probability that the trainer's policy gives it before the
    training, over that of vLLM's or of an older policy, both before the temperature. This is truncated importance
    sampling (Ionides 2008; Espeholt et al. 2018, arXiv:1802.01561). Null weighs all alike."""
    max_mismatch: float | None = Field(default=None, gt=0)
    """How far vLLM's log-probabilities may be from the trainer's at 99% of the tokens, in nats; past it, where all
    tokens share an error, or where an older policy sampled, the trainer computes those before the training itself. Null
    is 0.05."""
    truncated: Literal["mask", "zero", "keep"] = "mask"
    """What an answer earns that `sampling.max_tokens` cut: nothing, as it is left out (`mask`; DAPO, Yu et al. 2025,
    arXiv:2503.14476), a reward of 0, or what the judge gave it."""
    questions_per_step: int = Field(default=8, ge=1)
    """Questions, with all their answers, in one optimizer step over all workers."""

    @model_validator(mode="after")
    def _reference_acts(self) -> Self:
        if self.reference != "initial" and not self.kl:
            raise ValueError("reference does nothing without kl; expected kl above 0")
        return self


class GrpoSection(PolicyGradientSection):
    """Group relative policy optimization (Shao et al. 2024, arXiv:2402.03300): an answer's advantage is its reward less
    the mean of its question's answers."""

    clip_high: float = Field(default=0.28, gt=0)
    """How far a ratio may rise above 1 and still teach; above `clip_low`, so that rare answers can grow (DAPO,
    arXiv:2503.14476). Of `cispo`, how far a weight may rise above 1."""
    kl: float = Field(default=0.0, ge=0)
    """Weight of the divergence from the reference policy in the loss, exp(d) - d - 1 a token with d the reference's
    log-probability less the policy's; 0 needs no reference policy."""
    scale: Literal["none", "std"] = "none"
    """`std` divides a group's advantages by the standard deviation of its rewards plus 1e-4, as the paper does;
    without, questions of every difficulty count alike (Dr. GRPO, Liu et al. 2025, arXiv:2503.20783)."""
    average: Literal["tokens", "answers", "constant"] = "tokens"
    """Mean of the loss over all tokens of a step (DAPO), over its answers, each the mean of its tokens (GRPO), or its
    sum over the answers times `answer_tokens` (Dr. GRPO), which favours no length."""
    answer_tokens: int | None = Field(default=None, ge=1)
    """The most tokens of an answer, for `average: constant`."""
    ratio: Literal["token", "sequence"] = "token"
    """One ratio for each token, or for each answer the geometric mean of its tokens' (GSPO, Zheng et al. 2025,
    arXiv:2507.18071), which takes clips of some 3e-4."""
    clip: Literal["ppo", "cispo"] = "ppo"
    """`ppo` stops teaching a token whose ratio leaves the clips; `cispo` teaches every token, with a weight of at most
    1 + `clip_high` (MiniMax 2025, arXiv:2506.13585)."""

    @model_validator(mode="after")
    def _options_act(self) -> Self:
        if (self.average == "constant") != (self.answer_tokens is not None):
            raise ValueError("average constant and answer_tokens belong together; expected both or neither")
        if self.clip == "cispo" and self.clip_low != type(self).model_fields["clip_low"].default:
            raise ValueError("clip_low does nothing with clip cispo; expected clip_high alone")
        if self.clip == "cispo" and self.ratio == "sequence":
            raise ValueError("ratio sequence is of clip ppo; expected ratio token with clip cispo")
        return self


class RlooSection(PolicyGradientSection):
    """REINFORCE with a leave-one-out baseline (Ahmadian et al. 2024, arXiv:2402.14740): an answer's advantage is its
    reward less the mean of its question's other answers, and its ratio that of the whole answer."""

    kl: float = Field(default=0.0, ge=0)
    """Weight of an answer's log-probability before the training less the reference policy's, taken from its reward; 0
    needs no reference policy."""

    @model_validator(mode="after")
    def _reference_differs(self) -> Self:
        _refuse_previous(self)
        return self


class PpoSection(PolicyGradientSection):
    """Proximal policy optimization (Schulman et al. 2017, arXiv:1707.06347) as of InstructGPT (Ouyang et al. 2022,
    arXiv:2203.02155): a value head, trained beside the policy, says what each token of an answer adds.

    The head is a linear layer on the policy's last hidden state. It needs `cluster.training.strategy: ddp`."""

    kl: float = Field(default=0.05, ge=0)
    """Weight of a token's log-probability before the training less the reference policy's, taken from its reward; 0
    needs no reference policy."""
    gamma: float = Field(default=1.0, gt=0, le=1)
    """Discount of later rewards, a token."""
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    """Of generalized advantage estimation (Schulman et al. 2015, arXiv:1506.02438): 1 trusts the rewards, 0 the
    values."""
    value_learning_rate: float = Field(default=1e-4, gt=0)
    """Peak learning rate of the value head."""
    value_weight: float = Field(default=0.1, gt=0)
    """Weight of half the squared error of the values in the loss."""
    value_clip: float | None = Field(default=0.2, gt=0)
    """How far a value may move from that before the training and still be taught; null does not clip it."""
    whiten: bool = True
    """Shift and scale the advantages of all tokens to mean 0 and variance 1."""

    @model_validator(mode="after")
    def _reference_differs(self) -> Self:
        _refuse_previous(self)
        return self


def _refuse_previous(section: PolicyGradientSection) -> None:
    """Raise ValueError if a divergence that is taken from rewards is from the policy that it is measured of."""
    if section.reference == "previous":
        raise ValueError("reference previous does nothing where kl is taken from rewards; expected initial")


class PolicyGradientPhase(PhaseSection):
    """Rounds that learn from sampled candidates by what a judge rewards each with.

    The optimizer's state goes on from round to round, with the policy that is current."""

    sampling: SamplingSection = SamplingSection()
    judge: JudgeSection
    training: PolicyGradientSection

    @model_validator(mode="after")
    def _samples_from_the_policy(self) -> Self:
        if self.sampling.top_p < 1:
            raise ValueError(
                f"sampling.top_p: {self.sampling.top_p}; a policy gradient needs answers of the whole distribution; "
                "expected 1"
            )
        if any(self.sampling.temperature_of(number) <= 0 for number in range(self.rounds)):
            raise ValueError("sampling.temperature: 0 samples one answer; expected a temperature above 0")
        return self


class GrpoPhase(PolicyGradientPhase):
    """See `PolicyGradientPhase`."""

    objective: Literal["grpo"]
    """`grpo`: an answer's advantage is its reward less the mean of its question's answers."""
    training: GrpoSection = GrpoSection()


class RlooPhase(PolicyGradientPhase):
    """See `PolicyGradientPhase`."""

    objective: Literal["rloo"]
    """`rloo`: it is its reward less the mean of the others."""
    training: RlooSection = RlooSection()


class PpoPhase(PolicyGradientPhase):
    """See `PolicyGradientPhase`."""

    objective: Literal["ppo"]
    """`ppo`: a value head, trained beside the policy, says what each token adds."""
    training: PpoSection = PpoSection()
