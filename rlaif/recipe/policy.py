"""The policy: which model is aligned, how a question is put to it, and how it is sampled and trained."""

from typing import Literal

from pydantic import Field, JsonValue, model_validator

from rlaif.recipe.base import Section


class PolicySection(Section):
    """The model being aligned and the prompt file that puts a question to it."""

    model: str = Field(min_length=1)
    """A hub id, a local directory, or `builtin:smollm2-135m`, which needs no hub. It needs a chat template: of the
    tokenizer, or a `chat_template.jinja` in the folder. A template that takes no system turn, or leaves its text out,
    gets that text at the beginning of the first turn of the user. A LoRA adapter that peft saved is a model too: with
    `training.lora` it is trained further; without, it is merged into its base."""
    revision: str | None = None
    """Branch, tag or commit of a hub model; null is its default branch."""
    chat_template_kwargs: dict[str, JsonValue] = Field(default={})
    """Arguments of the model's chat template, such as `{enable_thinking: false}`, wherever the policy's prompt is
    rendered. One that the template does not use is refused."""
    prompt: str = "answer"
    """Template that puts the question to the policy: a name in `prompts/`, or a path; of kind `answer`."""
    tables: Literal["plain", "heads"] = "plain"
    """`heads` writes each cell of a context's tables with its column's head (`2023: 10,208`), for policy and judge.
    A small model then need not count columns; contexts get longer, by a third in TAT-QA."""
    max_length: int = Field(default=2048, ge=16)
    """Most tokens of prompt and answer, at most the model's own limit. A question without room for them fails."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of the weights in all engines, and of a frozen base in training. `auto` is bfloat16 on a GPU and on a CPU
    with bf16 units, else float32."""


class SamplingSection(Section):
    """How candidates are drawn from the policy."""

    candidates: int = Field(default=4, ge=2, le=128)
    """Answers sampled for each question."""
    temperature: float = Field(default=0.8, gt=0, le=5)
    """Softmax temperature; stored log-probabilities are those before it."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Mass of the nucleus that is sampled from."""
    max_tokens: int = Field(default=256, ge=1)
    """Longest answer in tokens, below `policy.max_length`; a longer one is cut and marked `length`."""
    in_flight: int = Field(default=256, ge=1)
    """Questions in flight at once over all engines; bounds the driver's memory."""
    attempts: int = Field(default=3, ge=1, le=10)
    """How often a request is tried when its engine dies, before it is recorded as a failure."""
    shard_questions: int = Field(default=16, ge=1)
    """Questions that are gathered before they are committed as a shard: the most that a kill can cost."""


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


class SftSection(OptimizerSection):
    """One supervised fine-tuning on demonstrations."""

    learning_rate: float = Field(default=2e-5, gt=0)
    """Peak learning rate of AdamW. An adapter takes a far larger one than full weights."""
    demonstrations_per_step: int = Field(default=16, ge=1)
    """Demonstrations in one optimizer step over all workers. Those with a common beginning, such as one document, are
    computed together; they fill at most half of a step."""
    max_tokens_per_pack: int = Field(default=2048, ge=64)
    """Token budget of one forward pass; bounds memory, not the result. A longer demonstration has a pass of its own."""
    checkpoint_steps: int | None = Field(default=None, ge=1)
    """Steps between checkpoints of a training. Null writes none, and a training that is killed begins again."""


class TrainingSection(OptimizerSection):
    """One DPO training a round (Rafailov et al. 2023, arXiv:2305.18290)."""

    beta: float = Field(default=0.1, gt=0)
    """Strength of the pull towards the reference policy; of `ipo`, the paper's tau."""
    loss: Literal["sigmoid", "sigmoid_norm", "ipo", "hinge", "robust"] = "sigmoid"
    """DPO's loss (`sigmoid`), its form averaged over tokens (Lambert et al. 2024, arXiv:2411.15124), IPO's (Azar et al.
    2023, arXiv:2310.12036), the hinge of SLiC (Zhao et al. 2023, arXiv:2305.10425), or the one made robust to wrong
    labels (Chowdhury et al. 2024, arXiv:2403.00409)."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)
    """Share of the preferences assumed to be wrong: makes `sigmoid` conservative, and `robust` needs it."""
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
    max_tokens_per_pack: int = Field(default=2048, ge=64)
    """Token budget of one forward pass; bounds memory, not the result. A question that is longer with its candidates
    has a pass of its own."""
    checkpoint_steps: int | None = Field(default=None, ge=1)
    """Steps between checkpoints of a training, kept with the run. Null writes none, and a training that is killed
    begins again."""
    max_probe_difference: float | None = Field(default=None, gt=0)
    """Largest mean difference of an engine's log-probabilities from the trainer's on a probe, in nats a token; past it
    the run stops. Null is 0.002 in float32, 0.03 in bfloat16, 0.01 in float16."""

    @model_validator(mode="after")
    def _smoothing_acts(self) -> "TrainingSection":
        if self.label_smoothing and self.loss not in ("sigmoid", "robust"):
            raise ValueError(f"label_smoothing does nothing to the loss {self.loss}; expected sigmoid or robust")
        if self.loss == "robust" and not self.label_smoothing:
            raise ValueError("loss robust without label_smoothing is sigmoid; expected label_smoothing above 0")
        return self
