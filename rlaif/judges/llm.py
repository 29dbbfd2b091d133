"""The spec of a judge that asks a model: its template, its backend, and the rules between the keys of its file."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, StringConstraints

from rlaif.chat import Messages
from rlaif.data.criteria import (
    Criterion,
    CriterionSection,
    criteria_bytes,
    criteria_tree,
    describe_criteria,
    named_criteria,
)
from rlaif.data.gold_answer import shown_gold_answer
from rlaif.data.question import Question
from rlaif.io.yaml_file import read_text
from rlaif.judges.spec import JudgeSpec, KeyFault
from rlaif.prompts.front_matter import AnswerFrontMatter, JudgeFrontMatter, LogprobFrontMatter, PointwiseMarks
from rlaif.prompts.question_prompt import shown_question
from rlaif.prompts.template import PromptTemplate
from rlaif.recipe.judge import Backend, OpenAIBackend, Prices, VllmBackend


class LlmSpec(JudgeSpec):
    """A model that compares two answers, or rates one."""

    kind: Literal["llm"]
    reasoning: bool = False
    """Whether the model gives its reasons before the verdict, at some hundred tokens instead of one. For prompts that
    have a form with reasons; `temperature`, `max_tokens` and `samples` then apply."""
    prompt: str = Field(min_length=1)
    """A template of kind `pairwise` or `pointwise`: its name in `prompts/`, or its path from the judge file or the
    working directory."""
    backend: Backend = VllmBackend(type="vllm")
    """What serves the model."""
    swap_positions: bool = True
    """Whether each comparison is asked in both orders, a tie where they disagree; false asks once, at half the cost."""
    rubric: Annotated[str, StringConstraints(strip_whitespace=True)] = ""
    """Criteria of your own, for prompts that show a rubric."""
    criteria: dict[str, CriterionSection] = Field(default={})
    """What answers are marked by, by name, for prompts that read marks. Criteria given with a question take their
    place."""
    temperature: float | None = Field(default=0.0, ge=0, le=2)
    """Of a judge that answers with a text: 0 is greedy; null is the endpoint's own, for models that take no other."""
    max_tokens: int = Field(default=1024, ge=1, le=131_072)
    """Of a judge that answers with a text: the longest answer in tokens. An answer that is cut is `unparsed`."""
    samples: int = Field(default=1, ge=1, le=100)
    """Of a judge that answers with a text, at a temperature other than 0: answers to each question. Their mean decides,
    if more than half could be read."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the samples and of the choice of principles."""
    principles: tuple[str, ...] = ()
    """For templates that show a principle, and only for those: each comparison draws one, the same in both orders."""
    principles_file: str | None = Field(default=None, min_length=1)
    """Instead of `principles`: a text file with one principle a line. Empty lines and lines that begin with `#` are
    skipped."""

    _template: PromptTemplate = PrivateAttr()
    _front_matter: JudgeFrontMatter = PrivateAttr()
    _criteria: tuple[Criterion, ...] = PrivateAttr(default=())
    _principles_path: Path | None = PrivateAttr(default=None)
    _all_principles: tuple[str, ...] = PrivateAttr(default=())

    def _resolve(self) -> None:
        self._template = self._load_template(self.prompt, reasoning=self.reasoning)
        if isinstance(self._template.front_matter, AnswerFrontMatter):
            raise KeyFault("prompt", f"{self._template.path} is of kind answer; expected pairwise or pointwise")
        self._front_matter = self._template.front_matter
        self._check_template()
        self._read_principles()
        self._check_sampling()

    def _check_template(self) -> None:
        template, front_matter = self._template, self._front_matter
        try:
            self._criteria = named_criteria(self.criteria)
        except ValueError as error:
            raise KeyFault("criteria", str(error)) from None
        if self.criteria and not self.reads_marks:
            raise KeyFault("criteria", f"{template.path} reads no marks (verdict: marks); remove this key")
        if self.reads_marks != ("criteria" in template.uses):
            problem = (
                "reads marks and never shows the criteria" if self.reads_marks else "shows criteria, reads no marks"
            )
            raise KeyFault("prompt", f"{template.path} {problem}; expected both")
        if self.rubric and "rubric" not in template.uses:
            raise KeyFault("rubric", f"{template.path} never shows one; expected {{{{ rubric }}}} in it")
        if "swap_positions" in self.model_fields_set and not self.pairwise:
            raise KeyFault("swap_positions", f"{template.path} rates one answer at a time; remove this key")
        if isinstance(front_matter, LogprobFrontMatter):
            for key in ("temperature", "max_tokens", "samples"):
                # A file that mentions `reasoning` may say how the reasons are asked for.
                if key in self.model_fields_set and "reasoning" not in self.model_fields_set:
                    raise KeyFault(key, "the prompt is read from log-probabilities (verdict: logprob); remove this key")
            if front_matter.prefix and isinstance(self.backend, OpenAIBackend):
                raise KeyFault("backend", f"{template.path} has a prefix, which no endpoint supports")

    def _check_sampling(self) -> None:
        if self.replies_with_text:
            if self.temperature is None and isinstance(self.backend, VllmBackend):
                raise KeyFault("temperature", "null is the endpoint's own; expected a number for an engine of ours")
            if self.samples > 1 and self.temperature == 0:
                raise KeyFault("samples", "at temperature 0 all samples are the same; expected a temperature above 0")
        if "seed" in self.model_fields_set and not self.draws:
            raise KeyFault("seed", "has no effect: set a temperature above 0, or give principles")

    def _read_principles(self) -> None:
        key = "principles"
        listed: Sequence[str] = self.principles
        if self.principles_file is not None:
            key = "principles_file"
            if listed:
                raise KeyFault(key, "principles is given too; expected one of the two")
            paths = [start / self.principles_file for start in (Path.cwd(), self.path.parent)]
            path = self._principles_path = next((path for path in paths if path.is_file()), None)
            if path is None:
                raise KeyFault(key, f"{self.principles_file}: no such file")
            lines = read_text(path).split("\n")
            listed = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
            if not listed:
                raise KeyFault(key, f"{path} holds no principle; expected one a line")
        principles = self._all_principles = tuple(principle.strip() for principle in listed)
        if not all(principles) or len(set(principles)) < len(principles):
            raise KeyFault(key, "one is empty or repeated; expected different ones")
        if bool(principles) != ("principle" in self._template.uses):
            problem = "never shows one; expected {{ principle }} in it" if principles else "shows one; expected a list"
            raise KeyFault(key, f"{self._template.path} {problem}")

    @property
    def template(self) -> PromptTemplate:
        """Its prompt file, of kind `pairwise` or `pointwise`."""
        return self._template

    @property
    def front_matter(self) -> JudgeFrontMatter:
        return self._front_matter

    @property
    def all_principles(self) -> tuple[str, ...]:
        """The principles of the file or of `principles_file`; empty for a template that shows none."""
        return self._all_principles

    @property
    def model(self) -> str:
        """The model's name as in the file; of our own engines, `policy` is the run's initial policy."""
        return self.backend.model

    @property
    def chat_template_kwargs(self) -> dict[str, Any] | None:
        """Arguments of the chat template of a model on engines of ours; None for none, and for endpoints."""
        return (self.backend.chat_template_kwargs or None) if isinstance(self.backend, VllmBackend) else None

    @property
    def pairwise(self) -> bool:
        """Whether it compares two answers rather than rates one."""
        return self._front_matter.kind == "pairwise"

    @property
    def reads_marks(self) -> bool:
        """Whether its model is asked for a mark by each of several criteria."""
        return isinstance(self._front_matter, PointwiseMarks)

    def criteria_of(self, question: Question) -> tuple[Criterion, ...]:
        """Return what the answers to a question are marked by."""
        return question.criteria or self._criteria

    @property
    def replies_with_text(self) -> bool:
        """Whether its model is asked for a text; else it is read from log-probabilities."""
        return not isinstance(self._front_matter, LogprobFrontMatter)

    @property
    def draws(self) -> bool:
        """Whether anything depends on the seed."""
        return bool(self._all_principles) or (self.replies_with_text and self.temperature != 0)

    def _deciding(self) -> dict[str, Any]:
        # How the answer is read is in the template's sha256.
        tree: dict[str, Any] = {
            "kind": self.kind,
            "prompt": self._template.sha,
            "backend": self.backend.identity,
            "rubric": self.rubric,
        }
        if self.pairwise:
            tree["orders"] = "both" if self.swap_positions else "given"
        if self.replies_with_text:
            tree["sampling"] = {
                "temperature": self.temperature,
                "max_tokens": self.max_tokens,
                "samples": self.samples,
            }
        if self._criteria:
            tree["criteria"] = criteria_tree(self._criteria)
        if self._all_principles:
            tree["principles"] = self._all_principles
        if self.draws:
            tree["seed"] = self.seed
        return tree

    def render(self, question: Question, **shown: str) -> Messages:
        """Return the chat that asks about answers to a question; `shown` has what the template's kind shows of them."""
        if isinstance(self._front_matter, PointwiseMarks):
            shown["criteria"] = describe_criteria(self.criteria_of(question), self._front_matter.scale)
        return self._template.render(
            question=shown_question(question),
            context=question.context,
            reference=shown_gold_answer(question.gold_answer),
            rubric=self.rubric,
            **shown,
        )

    @property
    def models(self) -> frozenset[str]:
        return frozenset({self.model}) if isinstance(self.backend, VllmBackend) else frozenset()

    @property
    def files(self) -> frozenset[tuple[str, Path]]:
        principles = {("judges", self._principles_path)} if self._principles_path else set()
        return frozenset({("judges", self.path), ("prompts", self._template.path)} | principles)

    @property
    def answer_tokens(self) -> int:
        if not self.models:
            return 0
        return self.max_tokens if self.replies_with_text else 1

    @property
    def prices(self) -> Prices | None:
        return self.backend.prices if isinstance(self.backend, OpenAIBackend) else None

    def describe(self) -> dict[str, Any]:
        facts = super().describe()
        # The record has the name of today's key.
        if facts.pop("orders", None):
            facts["swap_positions"] = self.swap_positions
        return {
            **facts,
            "prompt": self._template.name,
            "prompt_sha": self._template.sha,
            "backend": self.backend.type,
            **{name: value for name, value in self.backend.identity.items() if name != "type"},
        }


def criteria_tokens(judges: Iterable[JudgeSpec], questions: Iterable[Question]) -> int:
    """Return the most tokens that questions' own criteria take in a judge's prompt; a token is at least a byte."""
    if not any(isinstance(leaf, LlmSpec) and leaf.reads_marks for judge in judges for leaf in judge.leaves):
        return 0
    return max((criteria_bytes(question.criteria) for question in questions), default=0)
