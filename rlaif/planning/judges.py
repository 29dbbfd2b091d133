"""How often the judges of a recipe ask a model, and which: what a plan needs to know of a judge file."""

from dataclasses import dataclass

from rlaif.judging.spec import JudgeSpec, LlmSpec

# Of the rubric and the words around question and answers: prose.
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class JudgeCalls:
    """One judge that asks a model which of two answers is better.

    Attributes:
        name: of the judge.
        model: `policy` for the initial policy, or a model of its own.
        orders: in how many orders a comparison is asked.
        template_tokens: of its prompt beside question, context and answers.
        output_tokens: of its answer.
        settles: whether a panel asks it only what the judges before it leave open.
    """

    name: str
    model: str
    orders: int
    template_tokens: int
    output_tokens: int
    settles: bool


def judge_calls(spec: JudgeSpec) -> list[JudgeCalls]:
    """Return the judges of a file that ask a model, in the order in which they are asked."""
    return [
        JudgeCalls(
            name=leaf.name,
            model=leaf.model,
            orders=2 if leaf.orders == "both" else 1,
            template_tokens=_template_tokens(leaf),
            output_tokens=1,
            settles=position > 0,
        )
        for position, leaf in enumerate(spec.leaves)
        if isinstance(leaf, LlmSpec)
    ]


def _template_tokens(spec: LlmSpec) -> int:
    messages = spec.prompt.render(question="", answer_a="", answer_b="", rubric=spec.rubric)
    return sum(len(message["content"]) for message in messages) // _CHARACTERS_PER_TOKEN
