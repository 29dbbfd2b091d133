"""How often the judges of a recipe ask a model of our engines, and which: what a plan needs to know of a judge file."""

from dataclasses import dataclass

from rlaif.judging.spec import JudgeSpec, LlmSpec, PanelSpec

# Of the rubric and the words around question and answers: prose.
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class JudgeCalls:
    """One judge that asks a model of our engines which of two answers is better, or for the rating of one.

    Attributes:
        name: of the judge.
        model: `policy` for the initial policy, or a model of its own.
        answers: in a question: 2 of a judge that compares, 1 of one that rates.
        orders: in how many orders a comparison is asked.
        samples: answers to each question.
        template_tokens: of its prompt beside question, context and answers.
        output_tokens: of its answer, at most.
        settles: whether a panel asks it only what the judges before it leave open.
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
    """Return the judges of a file that ask a model of our engines, in the order in which they are asked."""
    return [
        JudgeCalls(
            name=leaf.name,
            model=leaf.model,
            answers=2 if leaf.pairwise else 1,
            orders=2 if leaf.pairwise and leaf.orders == "both" else 1,
            samples=leaf.sampling.samples if leaf.sampling else 1,
            template_tokens=_template_tokens(leaf),
            output_tokens=leaf.answer_tokens,
            settles=position > 0 and isinstance(spec, PanelSpec) and spec.mode == "first-to-decide",
        )
        for position, leaf in enumerate(spec.leaves)
        if isinstance(leaf, LlmSpec) and leaf.models
    ]


def _template_tokens(spec: LlmSpec) -> int:
    answers = {"answer_a": "", "answer_b": ""} if spec.pairwise else {"answer": ""}
    messages = spec.prompt.render(question="", rubric=spec.rubric, **answers)
    return sum(len(message["content"]) for message in messages) // _CHARACTERS_PER_TOKEN
