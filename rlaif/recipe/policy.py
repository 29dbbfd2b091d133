"""The policy: which model is aligned, how a question is put to it, and how it is sampled."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from rlaif.recipe.base import Section

Temperature = Annotated[float, Field(gt=0, le=5)]


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
    temperature: Temperature | list[Temperature] = 0.8
    """Softmax temperature, or a list with one for each round (of a phase, for its own): a policy that has learned is
    surer, and differs less from answer to answer. Stored log-probabilities are those before it."""
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

    def temperature_of(self, number: int) -> float:
        """Return the temperature of a round, counted from 0."""
        return self.temperature[number] if isinstance(self.temperature, list) else self.temperature

    def check_rounds(self, rounds: int) -> None:
        """Raise ValueError unless each of so many rounds has a temperature."""
        if isinstance(self.temperature, list) and len(self.temperature) < rounds:
            raise ValueError(
                f"sampling.temperature: {len(self.temperature)} temperatures for {rounds} rounds; expected one each"
            )
