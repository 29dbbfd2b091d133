"""The view of one answer that a round learned from, for the terminal."""

from rich.console import Group, RenderableType
from rich.text import Text

from rlaif.reporting.terminal import Facts, indented, section, training_facts, verdict_lines
from rlaif.store.answer_trace import TracedAnswer


def answer_view(traced: TracedAnswer) -> RenderableType:
    """Return an answer's provenance, from what was asked to the policy that learned from it."""
    head = Text.assemble((f"{traced.kind} {traced.id}", "bold"), f" of round {traced.training.round} in {traced.run}")
    facts: Facts = [(name.replace("_", " "), value) for name, value in traced.facts.items()]
    facts += [("chunk", chunk.shown) for chunk in traced.chunks]
    facts += [("evidence", "withheld: a refusal is right")] if traced.withheld else []
    return Group(
        head,
        *_messages("prompt", traced.prompt),
        *_messages("answer", traced.answer),
        *section("recorded", facts),
        *_verdicts(traced),
        *training_facts(traced.training),
    )


def _verdicts(traced: TracedAnswer) -> list[RenderableType]:
    return (
        verdict_lines(traced.verdicts, traced.facts["candidate"], name="it", other="other") if traced.verdicts else []
    )


def _messages(title: str, messages: list[dict[str, str]]) -> list[RenderableType]:
    lines: list[RenderableType] = [Text(f"\n{title}", style="bold")]
    return lines + [indented(f"{message['role']}: {message['content']}") for message in messages]
