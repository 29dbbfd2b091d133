"""The judges that rate one answer at a time: by the gold answer, by a reward model, or by asking a model.

Invariant: a candidate's rating depends on the question and its own text alone, and equal texts have the same rating.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, PrivateAttr

from rlaif.data.question import Question
from rlaif.data.question_score import score_question
from rlaif.grading.figures import TOLERANCE
from rlaif.grading.score import READING, AnswerScore
from rlaif.inference.requests import ModelBackend
from rlaif.judges.decisions import candidates_of, decide_by_checks, decide_by_scores, own_verdicts
from rlaif.judges.judge import Comparison, Decision, SpecJudge, Status, Verdict
from rlaif.judges.llm import LlmSpec
from rlaif.judges.model_client import ReadReply, model_client
from rlaif.judges.reward_scores import RewardModel
from rlaif.judges.spec import JudgeSpec, KeyFault
from rlaif.models.resolve import model_identity
from rlaif.prompts.front_matter import AnswerFrontMatter
from rlaif.prompts.question_prompt import question_prompt
from rlaif.prompts.quoting import conversation
from rlaif.prompts.template import PromptTemplate


class ReferenceSpec(JudgeSpec):
    """The check against the gold answer without a model; it does not apply to questions without one."""

    kind: Literal["reference"]
    tolerance: float = Field(default=TOLERANCE, ge=0, lt=1)
    """Relative difference within which two quantities are equal."""
    tie_below: float = Field(default=0.15, ge=0, le=1)
    """Two right answers whose ratings differ by less tie. The rating is 1 for the same figure, date, name, yes or no,
    and at least 0.5 for an answer that has enough of the gold answer's words; a smaller difference is a few words that
    the one has and the other has not, which is no preference."""
    silent_rating: float = Field(default=0.2, ge=0, le=0.5)
    """What an answer on which the judge is silent counts as beside a right one; it sets the margin. People mark one in
    five of these answers right (FinanceBench, 22 of 106)."""

    def _deciding(self) -> dict[str, Any]:
        keys = {"tolerance": self.tolerance, "tie_below": self.tie_below, "silent_rating": self.silent_rating}
        return {"kind": self.kind, "reading": READING, **keys}


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
        return super().files | {("prompts", self._template.path)}

    def describe(self) -> dict[str, Any]:
        template = self._template
        return {**super().describe(), "model": self.model, "prompt": template.name, "prompt_sha": template.sha}


@dataclass(frozen=True, slots=True)
class ReferenceJudge(SpecJudge):
    """Rates an answer by `score_answer`: 0 for wrong, 0.5 to 1 for right; it is silent where it cannot tell.

    A question without a gold answer gets no verdict. Where the evidence was withheld, only a refusal is right.
    """

    spec: ReferenceSpec

    async def verdicts(
        self, question: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        wanted = range(len(answers)) if comparisons is None else candidates_of(comparisons, len(answers))
        scores = ((index, score_question(question, answers[index], self.spec.tolerance)) for index in wanted)
        return [self._verdict(question.id, index, score) for index, score in scores if score is not None]

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        own, spec = own_verdicts(self, prompt_id, verdicts), self.spec
        return decide_by_checks(own, tie_below=spec.tie_below, silent_rating=spec.silent_rating)

    def _verdict(self, prompt_id: str, index: int, score: AnswerScore) -> Verdict:
        status: Status = "silent" if score.outcome == "open" else "ok"
        rating = score.grade if status == "ok" else None
        return Verdict(prompt_id, index, None, status, None, rating, score.reason, self.name, self.sha)


@dataclass(frozen=True, slots=True)
class _ModelJudge(SpecJudge):
    """Rates by a model, each text once: a repetition has the same rating and costs nothing."""

    log_odds: ClassVar[bool] = False

    spec: LlmSpec | RewardModelSpec

    async def verdicts(
        self, question: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        texts = {index: self._text(answers[index]) for index in candidates_of(comparisons, len(answers))}
        # The first candidate with a text pays for all that repeat it.
        payers = {text: index for index, text in reversed(texts.items())}
        distinct = sorted(payers, key=payers.__getitem__)
        ratings = dict(zip(distinct, await self._rate(question, distinct) if distinct else [], strict=True))
        return [
            self._verdict(question.id, index, reply if payers[text] == index else reply.repeated())
            for index, text in texts.items()
            for reply in ratings[text]
        ]

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        return decide_by_scores(own_verdicts(self, prompt_id, verdicts), log_odds=self.log_odds)

    async def _rate(self, question: Question, texts: Sequence[str]) -> list[list[ReadReply]]:
        """Return the ratings of each text, in order."""
        raise NotImplementedError

    def _text(self, answer: str) -> str:
        """Return what the model is shown of an answer."""
        return answer

    def _verdict(self, prompt_id: str, index: int, reply: ReadReply) -> Verdict:
        return Verdict(
            prompt_id,
            index,
            None,
            reply.status,
            None,
            reply.value,
            reply.text,
            self.name,
            self.sha,
            self.spec.template.sha,
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            seconds=reply.seconds,
            mass=reply.mass,
            marks=reply.marks,
        )


@dataclass(frozen=True, slots=True)
class RewardModelJudge(_ModelJudge):
    """Prefers the answer of the higher score; P(first) is the logistic function of the difference."""

    log_odds: ClassVar[bool] = True

    spec: RewardModelSpec
    model: RewardModel = field(repr=False)

    async def _rate(self, question: Question, texts: Sequence[str]) -> list[list[ReadReply]]:
        chat = question_prompt(self.spec.template, question)
        rewards = await self.model.rewards([conversation(chat, text) for text in texts])
        return [
            [
                ReadReply("ok", reward.score, f"reward {reward.score:.4f}", reward.tokens, seconds=reward.seconds)
                if reward.failure is None
                else ReadReply("error", None, reward.failure, reward.tokens, seconds=reward.seconds)
            ]
            for reward in rewards
        ]


@dataclass(frozen=True, slots=True)
class PointwiseJudge(_ModelJudge):
    """Asks a model for the rating of one answer at a time.

    A judge that reads marks does not apply to a question without criteria, neither its own nor those of the judge file.
    """

    spec: LlmSpec
    backend: ModelBackend = field(repr=False)

    async def verdicts(
        self, question: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        if self.spec.reads_marks and not self.spec.criteria_of(question):
            return []
        return await _ModelJudge.verdicts(self, question, answers, comparisons)

    async def _rate(self, question: Question, texts: Sequence[str]) -> list[list[ReadReply]]:
        client = model_client(self.spec, self.backend, self.spec.criteria_of(question))
        return await client.ask([self.spec.render(question, answer=text) for text in texts])

    def _text(self, answer: str) -> str:
        return answer.strip()
