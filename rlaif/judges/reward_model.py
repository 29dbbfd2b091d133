"""A reward model as a judge: a sequence classifier with one output scores each answer by itself."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from rlaif.data.question import Question
from rlaif.judges.decisions import decide_by_scores, own_verdicts
from rlaif.judges.judge import Comparison, SpecJudge
from rlaif.judges.rating import rate_distinct
from rlaif.judges.reward_scores import Reward, RewardBackend
from rlaif.judges.spec import JudgeSpec, KeyFault
from rlaif.judges.verdict import Decision, Verdict
from rlaif.models.resolve import model_identity
from rlaif.prompts.front_matter import AnswerFrontMatter
from rlaif.prompts.quoting import conversation
from rlaif.prompts.template import PromptTemplate


class RewardModelSpec(JudgeSpec):
    """A sequence classifier with one output, which scores each answer."""

    kind: Literal["reward-model"]
    model: str = Field(min_length=1)
    """A hub id or local directory that `AutoModelForSequenceClassification` loads."""
    prompt: str = Field(default="answer", min_length=1)
    """The template that puts the question, of kind `answer`: usually that of the policy."""
    batch_size: int = Field(default=8, ge=1, le=4096)
    """Conversations that are scored at once."""
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    """`auto`, `cpu`, `cuda` or `cuda:N`: where it runs, in the process that judges. `auto` takes a GPU where there is
    one."""

    _template: PromptTemplate = PrivateAttr()

    def _resolve(self) -> None:
        self._template = self._load_template(self.prompt)
        if not isinstance(self._template.front_matter, AnswerFrontMatter):
            raise KeyFault("prompt", f"{self._template.path} is of kind {self._template.kind}; expected answer")

    @property
    def template(self) -> PromptTemplate:
        """Its prompt file, of kind `answer`."""
        return self._template

    def _deciding(self) -> dict[str, Any]:
        # A training can write other weights to the same directory.
        return {"kind": self.kind, "model": model_identity(self.model), "prompt": self._template.sha}

    @property
    def files(self) -> frozenset[tuple[str, Path]]:
        """Files that it is made of, each with the kind of folder that it belongs to."""
        return super().files | {("prompts", self._template.path)}

    def describe(self) -> dict[str, Any]:
        """Return plain values for a run's record."""
        return {
            **super().describe(),
            "model": self.model,
            "prompt": self._template.name,
            "prompt_sha": self._template.sha,
        }


@dataclass(frozen=True, slots=True)
class RewardModelJudge(SpecJudge):
    """Prefers the answer of the higher score; P(first) is the logistic function of the difference.

    Args:
        spec: the judge's file.
        backend: the model.
    """

    spec: RewardModelSpec
    backend: RewardBackend = field(repr=False)

    async def verdicts(
        self, question: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        """Score the candidates of the comparisons; equal texts are scored once. See `Judge`."""
        chat = self.spec.template.render(question=question.question, context=question.context)

        async def rate(texts: list[str]) -> list[Reward]:
            return await self.backend.rewards([conversation(chat, text) for text in texts])

        rated = await rate_distinct(answers, comparisons, rate)
        return [self._verdict(question.id, index, reward, paid=paid) for index, reward, paid in rated]

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        """Decide by the scores, as log-odds; see `Judge`."""
        return decide_by_scores(own_verdicts(self, prompt_id, verdicts), log_odds=True)

    def _verdict(self, prompt_id: str, index: int, reward: Reward, *, paid: bool) -> Verdict:
        return Verdict(
            prompt_id,
            index,
            None,
            "ok" if reward.failure is None else "error",
            None,
            reward.score,
            reward.failure if reward.failure is not None else f"reward {reward.score:.4f}",
            self.name,
            self.sha,
            self.spec.template.sha,
            prompt_tokens=reward.tokens if paid else 0,
            seconds=reward.seconds if paid else 0.0,
        )
