"""The settings of a training: those that every kind has, and each objective's own."""

from typing import ClassVar, Literal

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
    """Passes over the rows, each in another order."""
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
