"""Tables of runs and policies, and the view of a pair's provenance, for the terminal.

Invariant: text of a model or a file is printed without markup, and no control character of it reaches the terminal.
"""

import unicodedata
from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rlaif.reporting.figure_text import DASH, ago, figure, headline, learned_from, marks_text, promotion, span
from rlaif.reporting.summary import RunSummary
from rlaif.stats.bootstrap import Estimate
from rlaif.store import lineage

Facts = list[tuple[str, object]]
_CONTEXT_SHOWN = 400
_REFUSALS = {"refused": "refused", "refused_withheld": "withheld"}
"""Columns of refusals, where contexts are retrieved: with the evidence in reach, and with it withheld."""


def plain(text: object) -> Text:
    """Return text of a model or a file for the terminal, with control characters replaced."""
    shown = "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\n\t" else letter
        for letter in str(text)
    )
    return Text(shown, overflow="fold")


def plain_table(columns: Sequence[str], figures: Sequence[int], *, gap: int = 2, caption: str | None = None) -> Table:
    """Return a table without lines between its rows.

    Args:
        columns: their titles.
        figures: indices of the columns of figures, which are set to the right and never wrap.
        gap: spaces between two columns.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, gap, 0, 0), caption_justify="left")
    for index, column in enumerate(columns):
        figure_ = index in figures
        table.add_column(plain(column), justify="right" if figure_ else "left", no_wrap=figure_, overflow="fold")
    table.caption, table.caption_style = None if caption is None else plain(caption), "none"
    return table


def policies_table(summary: RunSummary) -> Table:
    """Return a table of a run's policies with their figures on the held-out questions, and the outcome below."""
    scored = summary.metric == "score"
    figures = ["score", "exact", "F1", "wins", "tokens", "KL"] if scored else ["wins", "tokens", "KL"]
    refused = [name for name in _REFUSALS if any(name in policy.metrics for policy in summary.policies)]
    figures += [_REFUSALS[name] for name in refused]
    caption = "\n".join(headline(summary))
    if line := learned_from(summary):
        caption = f"{line}\n{caption}"
    table = plain_table(["policy", *figures, "promoted"], range(1, len(figures) + 1), gap=1, caption=caption)
    for policy in summary.policies:
        found = policy.metrics
        scores = [span(found.get("score")), _mean(found.get("exact")), _mean(found.get("f1"))] if scored else []
        wins = _mean(found.get("win_rate")) if scored else span(found.get("win_rate"))
        table.add_row(
            f"{policy.number}{' initial' if policy.number == 0 else ''}",
            *scores,
            wins,
            _mean(found.get("length"), 1),
            _mean(found.get("kl"), 2),
            *(_mean(found.get(name)) for name in refused),
            promotion(policy),
            style="bold" if policy.number == summary.current.number else None,
        )
    return table


def _mean(found: Estimate | None, digits: int = 3) -> str:
    return figure(found.value if found else None, digits)


def runs_table(summaries: Sequence[RunSummary]) -> Table:
    """Return a table of runs: state, rounds, pairs, and the scores of the current and the initial policy."""
    columns = ["run", "state", "rounds", "pairs", "current", "initial", "last event"]
    caption = "current, initial: the two policies' held-out scores."
    table = plain_table(columns, range(2, 6), gap=1, caption=caption)
    for summary in summaries:
        wins = summary.metric == "win_rate"
        current = span(summary.current.metrics.get(summary.metric))
        table.add_row(
            plain(summary.record.name),
            summary.state,
            f"{summary.rounds_done}/{summary.planned}",
            f"{summary.pairs:,}",
            f"wins {current}" if wins and summary.current.number else current,
            _mean(summary.initial.metrics.get("score")),
            ago(summary.last_event),
        )
    return table


def lineage_view(traced: lineage.Lineage) -> RenderableType:
    """Return a pair's provenance, from the question to the policy that learned from it."""
    return Group(
        Text.assemble((f"pair {traced.pair_id}", "bold"), f" of round {traced.training.round} in {traced.run}"),
        *_prompt(traced.prompt),
        *_answer("chosen", traced.chosen),
        *_answer("rejected", traced.rejected),
        *_policy(traced.policy),
        *_decision(traced.decision),
        *verdict_lines(traced.verdicts, traced.chosen.index),
        *training_facts(traced.training),
        *([Text("\nmissing", style="bold")] if traced.missing else []),
        *(indented(line) for line in traced.missing),
    )


def section(title: str, facts: Facts) -> list[RenderableType]:
    """Return labelled lines. Labels must be short: a sha256 beside one has to fit into eighty columns."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, plain(DASH if value is None else value))
    return [Text(f"\n{title}", style="bold"), Padding(table, (0, 0, 0, 2))]


def _prompt(prompt: lineage.TracedQuestion) -> list[RenderableType]:
    facts: Facts = [("id", prompt.id)]
    if prompt.question is None:
        facts += [(message["role"], _shortened(message["content"])) for message in prompt.messages]
    else:
        facts += [("question", prompt.question), ("gold answer", prompt.reference)]
        facts += [("document", prompt.doc_link)] if prompt.doc_link else []
        facts += [("context", _shortened(prompt.context))] if prompt.context else []
    facts += [("chunk", chunk.shown) for chunk in prompt.chunks]
    facts += [("evidence", "withheld: a refusal is right")] if prompt.withheld else []
    return section(f"prompt, {prompt.tokens} tokens", facts)


def _answer(title: str, candidate: lineage.TracedCandidate) -> list[RenderableType]:
    facts = [f"{candidate.tokens} tokens"]
    facts += [f"log-probability {candidate.logprob:.3f}"] if candidate.logprob is not None else []
    facts += [f"finished by {candidate.finish_reason}"] if candidate.finish_reason else []
    facts += [f"seed {candidate.seed}"] if candidate.seed is not None else []
    number = "" if candidate.index is None else f": candidate {candidate.index}"
    heading = Text.assemble((f"\n{title}{number}", "bold"), f"\n  {', '.join(facts)}")
    return [heading, indented(candidate.text)]


def _policy(policy: lineage.TracedPolicy) -> list[RenderableType]:
    if policy.id is None:
        return section("sampled by", [("policy", "none of this run: the pair is of feedback.preferences")])
    known = "the initial model" if policy.kind == "base" else f"{policy.kind}, trained in round {policy.round}"
    facts: Facts = [("policy", known if policy.kind else None), ("sha256", policy.id)]
    facts += [("model", policy.model)] if policy.model else []
    for name, sha in sorted(policy.files.items()):
        facts += [("file", name), ("sha256", sha)]
    return section("sampled by", facts)


def _decision(decision: lineage.TracedDecision) -> list[RenderableType]:
    facts: Facts = [("source", decision.source)]
    if decision.source != "human":
        facts += [("judge", decision.judge), ("sha256", decision.judge_sha)]
        facts += [("template", decision.prompt), ("sha256", decision.prompt_sha)] if decision.prompt_sha else []
        facts += [("model", decision.model)] if decision.model else []
    facts += [("people", ", ".join(decision.labelled_by))] if decision.labelled_by else []
    facts += [("margin", figure(decision.margin, 4))]
    if decision.score_chosen is not None and decision.score_rejected is not None:
        facts += [("scores", f"{decision.score_chosen:g} against {decision.score_rejected:g}")]
    return section("decided by", facts)


def verdict_lines(
    verdicts: Sequence[lineage.TracedVerdict], of: int | None, *, name: str = "chosen", other: str = "rejected"
) -> list[RenderableType]:
    """Return the verdicts in words; candidate `of` is called `name`, and what it was compared with `other`."""
    both = "these two answers" if other == "rejected" else "it"
    lines: list[RenderableType] = [Text(f"\nverdicts on {both}: {len(verdicts)}", style="bold")]
    width = max((len(verdict.judge) for verdict in verdicts), default=0)
    for verdict in verdicts:
        first = verdict.second if verdict.order == "ba" else verdict.first
        about = f"{name if first == of else other} {'alone' if verdict.second is None else 'first'}"
        says = "" if verdict.score is None else f"score {verdict.score:g}"
        if verdict.preference is not None:
            likely = verdict.preference if verdict.first == of else 1.0 - verdict.preference
            says = f"P({name}) {likely:.3f}"
        cost = f"{verdict.prompt_tokens}+{verdict.completion_tokens} tokens, {verdict.seconds:.2f} s"
        judge = plain(verdict.judge.ljust(width))
        lines.append(Text.assemble("  ", judge, f"  {about:14} {verdict.status:8} {says:15} {cost}".rstrip()))
        if verdict.marks:
            lines.append(indented(marks_text(verdict.marks), 6))
        lines.append(indented(verdict.text or "(nothing)", 6))
    return lines


def training_facts(training: lineage.TracedTraining) -> list[RenderableType]:
    """Return the lines on what a round trained."""
    promoted = {None: "not decided yet", True: "yes", False: "no"}[training.promoted]
    facts: Facts = [("in round", training.round), ("policy", training.policy or "none yet")]
    facts += [("steps", training.steps), ("promoted", promoted)] if training.policy else []
    if training.gate is not None:
        facts += [("gate", training.gate)]
    return section("trained", facts)


def indented(text: str, spaces: int = 2) -> Padding:
    """Return text of a model or a file, set in."""
    return Padding(plain(text), (0, 0, 0, spaces))


def _shortened(text: str) -> str:
    if len(text) <= _CONTEXT_SHOWN:
        return text
    half = _CONTEXT_SHOWN // 2
    return f"{text[:half].rstrip()} [... {len(text) - 2 * half:,} characters ...] {text[-half:].lstrip()}"
