"""How often the judges of a judge file ask a model, and which model."""

from dataclasses import dataclass

from rlaif.judges.llm import LlmSpec
from rlaif.judges.panel import PanelSpec
from rlaif.judges.spec import JudgeSpec
from rlaif.recipe.backend import OpenAIBackend, VllmBackend

# The template and the rubric are prose.
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class JudgeCalls:
    """One judge that asks a model to compare two answers or to rate one.

    Attributes:
        model: `policy` for the initial policy, or a model of its own.
        answers: per request: 2 to compare, 1 to rate.
        orders: in which a comparison is asked, 1 or 2.
        samples: of the model's answer to each request.
        template_tokens: of the prompt without question, context and answers.
        output_tokens: most tokens of the model's answer.
        settles: whether a panel asks the judge only if the judges before it do not decide.
    """

    name: str
    model: str
    answers: int
    orders: int
    samples: int
    template_tokens: int
    output_tokens: int
    settles: bool


def judge_calls(spec: JudgeSpec) -> list[JudgeCalls]:
    """Return the judges of a file that ask a model of the run's engines, in order."""
    return [calls for calls, leaf in _all_calls(spec) if isinstance(leaf.backend, VllmBackend)]


def remote_calls(spec: JudgeSpec) -> list[tuple[JudgeCalls, OpenAIBackend]]:
    """Return the judges of a file that ask an endpoint, in order."""
    return [(calls, leaf.backend) for calls, leaf in _all_calls(spec) if isinstance(leaf.backend, OpenAIBackend)]


def _all_calls(spec: JudgeSpec) -> list[tuple[JudgeCalls, LlmSpec]]:
    in_turn = isinstance(spec, PanelSpec) and spec.mode == "first-to-decide"
    return [
        (_calls(leaf, settles=in_turn and position > 0), leaf)
        for position, leaf in enumerate(spec.leaves)
        if isinstance(leaf, LlmSpec)
    ]


def _calls(spec: LlmSpec, *, settles: bool) -> JudgeCalls:
    answers = {"answer_a": "", "answer_b": ""} if spec.pairwise else {"answer": ""}
    messages = spec.template.render(question="", rubric=spec.rubric, **answers)
    return JudgeCalls(
        name=spec.name,
        model=spec.model,
        answers=2 if spec.pairwise else 1,
        orders=2 if spec.pairwise and spec.swap_positions else 1,
        samples=spec.sampling.samples if spec.sampling else 1,
        template_tokens=sum(len(message["content"]) for message in messages) // _CHARACTERS_PER_TOKEN,
        output_tokens=spec.sampling.max_tokens if spec.sampling else 1,
        settles=settles,
    )
