"""The settings of a training: those that every kind has, and each objective's own."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from rlaif.recipe.base import Section

PreferenceLoss = Literal["sigmoid", "sigmoid_norm", "ipo", "hinge", "robust", "simpo"]
PER_TOKEN_LOSSES = ("sigmoid_norm", "ipo", "simpo")
"""The losses whose margin is of log-probabilities averaged over an answer's tokens."""


class LoraSection(Section):
    """A low-rank adapter (Hu et al. 2021, arXiv:2106.09685) in place of full weights.

    Where `policy.model` is an adapter, these are its own settings; one that differs is refused."""

    rank: int = Field(default=16, ge=1, le=512)
    """Rank of the update."""
    alpha: float = Field(default=32.0, gt=0)
    """Scale: the update is multiplied by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout before the adapter, in training alone; the model's own dropout is always off."""
    targets: str | list[str] = "all-linear"
    """Modules that get an adapter, as peft names them."""


class OptimizerSection(Section):
    """The settings that every kind of training has."""

    learning_rate: float = Field(default=1e-6, gt=0)
    """Peak learning rate of AdamW. An adapter takes a far larger one than full weights."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """How the rate falls after the warm-up."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps over which the rate rises from zero."""
    epochs: int = Field(default=1, ge=1)
    """Passes over the pairs, each in another order."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradient norm above which it is clipped."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's decoupled weight decay."""
    lora: LoraSection | None = None
    """A low-rank adapter; null trains all weights."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: less memory, about a third more work."""


class PolicyTrainingSection(OptimizerSection):
    """The settings that every training of a policy has."""

    max_tokens_per_pack: int = Field(default=2048, ge=64)
    """Token budget of one forward pass; bounds memory, not the result. What is computed together and longer, such as a
    question with its candidates, has a pass of its own."""
    checkpoint_steps: int | None = Field(default=None, ge=1)
    """Steps between checkpoints of a training. Null writes none, and a training that is killed begins again."""
    max_probe_difference: float | None = Field(default=None, gt=0)
    """Largest mean difference of an engine's log-probabilities from the trainer's on a probe, in nats a token; past it
    the run stops. Null is 0.002 in float32, 0.03 in bfloat16, 0.01 in float16."""

    per_step_key: ClassVar[str]
    """The key that says how much is learned in one optimizer step, over all workers."""

    @property
    def per_step(self) -> int:
        """Its value."""
        value: int = getattr(self, self.per_step_key)
        return value


class SftSection(PolicyTrainingSection):
    """One supervised fine-tuning on demonstrations."""

    per_step_key = "demonstrations_per_step"

    learning_rate: float = Field(default=2e-5, gt=0)
    """Peak learning rate of AdamW. An adapter takes a far larger one than full weights."""
    demonstrations_per_step: int = Field(default=16, ge=1)
    """Demonstrations in one optimizer step over all workers. Those with a common beginning, such as one document, are
    computed together; they fill at most half of a step."""


class RatingsSection(Section):
    """Which scores of answers are good and which are bad, for KTO."""

    desirable_from: float | None = None
    """An answer with this score or a higher one is desirable. Null reads no scores, but labels."""
    undesirable_to: float | None = None
    """An answer with this score or a lower one is undesirable, and one between the two is left out. Null is all below
    `desirable_from`."""

    @model_validator(mode="after")
    def _in_order(self) -> "RatingsSection":
        if self.undesirable_to is None:
            return self
        if self.desirable_from is None:
            raise ValueError("undesirable_to without desirable_from; expected both, or desirable_from alone")
        if self.undesirable_to >= self.desirable_from:
            raise ValueError(f"undesirable_to is {self.undesirable_to}; expected less than desirable_from")
        return self

    def is_desirable(self, score: float) -> bool | None:
        """Return whether a score is good; None between good and bad. `desirable_from` must be set."""
        bound = self.desirable_from
        assert bound is not None
        if score >= bound:
            return True
        return None if self.undesirable_to is not None and score > self.undesirable_to else False


class KtoSection(PolicyTrainingSection):
    """One KTO training on answers that are rated one by one (Ethayarajh et al. 2024, arXiv:2402.01306)."""

    per_step_key = "ratings_per_step"

    beta: float = Field(default=0.1, gt=0)
    """How soon the value of an answer saturates as its reward leaves that of the reference point, and so the strength
    of the pull towards the reference policy."""
    desirable_weight: float = Field(default=1.0, gt=0)
    """Weight of a desirable answer, the paper's lambda_D. Its equation 8 advises that this times the desirable answers
    be 1 to 4/3 of `undesirable_weight` times the undesirable ones."""
    undesirable_weight: float = Field(default=1.0, gt=0)
    """Weight of an undesirable answer, the paper's lambda_U."""
    human_weight: float = Field(default=1.0, gt=0)
    """Weight of an answer that a person rated, beside one that a judge rated."""
    reference: Literal["previous", "initial"] = "previous"
    """The reference policy: the one that the training starts from, or the initial one."""
    ratings_per_step: int = Field(default=16, ge=2)
    """Rated answers in one optimizer step over all workers; those to one prompt are in one step. The reference point is
    estimated from the answers of a step, each after the prompt of others."""


class TrainingSection(PolicyTrainingSection):
    """One DPO training a round (Rafailov et al. 2023, arXiv:2305.18290)."""

    per_step_key = "questions_per_step"

    beta: float = Field(default=0.1, gt=0)
    """Strength of the pull towards the reference policy; of `ipo`, the paper's tau. `simpo` has no reference policy and
    averages over tokens: its paper takes 2 to 10."""
    loss: PreferenceLoss = "sigmoid"
    """DPO's loss (`sigmoid`), its form averaged over tokens (Lambert et al. 2024, arXiv:2411.15124), IPO's (Azar et al.
    2023, arXiv:2310.12036), the hinge of SLiC (Zhao et al. 2023, arXiv:2305.10425), the one made robust to wrong labels
    (Chowdhury et al. 2024, arXiv:2403.00409), or SimPO's, averaged over tokens and without a reference policy (Meng et
    al. 2024, arXiv:2405.14734)."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of the preferences assumed to be wrong: makes `sigmoid` conservative, and `robust` needs it."""
    simpo_gamma: float | None = Field(default=None, ge=0)
    """Margin by which `simpo` wants the chosen answer's reward above the rejected one's, the paper's gamma. Null is
    0.5."""
    length_penalty: float = Field(default=0.0, ge=0)
    """What each token of an answer costs in reward (R-DPO's alpha, Park et al. 2024, arXiv:2403.19159): a longer chosen
    answer is pushed less, a shorter one more. For losses on whole answers."""
    ld_alpha: float | None = Field(default=None, ge=0, lt=1)
    """Weight of the log-probabilities of tokens beyond the length of the pair's shorter answer (LD-DPO's alpha, Liu et
    al. 2024, arXiv:2409.06411); null is 1. For losses on whole answers. The trainer then computes the reference itself,
    for `previous` under the policy that the training starts from."""
    weights: Literal["equal", "margin"] = "equal"
    """`margin` weighs each pair by its margin, at most 1, relative to the round's mean, so that a pair the judge was
    unsure of counts less."""
    human_weight: float = Field(default=1.0, gt=0)
    """Weight of a pair that a person decided."""
    sft_weight: float = Field(default=0.0, ge=0)
    """Weight of the chosen answer's mean negative log-likelihood beside the loss (RPO, arXiv:2404.19733)."""
    reference: Literal["previous", "initial"] = "previous"
    """`previous`: the policy that sampled the round, by vLLM's own log-probabilities; `initial`: the initial policy, by
    one more pass."""
    max_mismatch: float | None = Field(default=None, gt=0)
    """How far vLLM's log-probabilities may move a pair's margin, beta times the difference of chosen and rejected, from
    what the trainer's give (99th percentile over pairs); past it, or where all tokens share an error, the trainer
    computes the reference itself. Null is 0.1."""
    questions_per_step: int = Field(default=8, ge=1)
    """Questions, with all their pairs, in one optimizer step over all workers."""

    @model_validator(mode="after")
    def _keys_act(self) -> "TrainingSection":
        if self.label_smoothing and self.loss not in ("sigmoid", "robust"):
            raise ValueError(f"label_smoothing does nothing to the loss {self.loss}; expected sigmoid or robust")
        if self.loss == "robust" and not self.label_smoothing:
            raise ValueError("loss robust without label_smoothing is sigmoid; expected label_smoothing above 0")
        for key, given in (("length_penalty", self.length_penalty > 0), ("ld_alpha", self.ld_alpha is not None)):
            if given and self.loss in PER_TOKEN_LOSSES:
                raise ValueError(
                    f"{key} is of whole answers, and the loss {self.loss} averages over their tokens; expected "
                    "sigmoid, hinge or robust"
                )
        if self.ld_alpha is not None and self.max_mismatch is not None:
            raise ValueError("max_mismatch does nothing with ld_alpha: the trainer computes the reference itself")
        if self.simpo_gamma is not None and self.loss != "simpo":
            raise ValueError(f"simpo_gamma does nothing to the loss {self.loss}; expected simpo")
        if self.loss == "simpo" and (self.reference != "previous" or self.max_mismatch is not None):
            key = "reference" if self.reference != "previous" else "max_mismatch"
            raise ValueError(f"{key} does nothing to the loss simpo, which has no reference policy; leave it out")
        return self


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
    """Largest weight of a token for the difference of vLLM's log-probabilities, or of an older policy's, from those of
    the trainer before the training: truncated importance sampling (Ionides 2008; Espeholt et al. 2018,
    arXiv:1802.01561). Null weighs all alike."""
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
