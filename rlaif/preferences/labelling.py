"""Judges a file of answers that another system sampled, outside any run, into preference pairs.

Invariant: the pairs have the columns of a run's pairs; tokens, seeds and policy, which nobody knows, are null.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from rlaif import __version__
from rlaif.data.candidates import Candidates
from rlaif.judge_evals.judging import map_bounded
from rlaif.judges.endpoints import smallest
from rlaif.judges.judge import Judge, Verdict
from rlaif.judges.serving import Serving
from rlaif.judges.session import JudgeSession, shown_bytes
from rlaif.judges.spec import JudgeSpec
from rlaif.preferences.pairs import PairCounts, pair_id, pair_rows
from rlaif.progress import Progress
from rlaif.prompts.question_prompt import question_prompt, shown_question
from rlaif.prompts.template import PromptTemplate
from rlaif.store.schemas import PAIRS, VERDICTS
from rlaif.store.shards import write_table


@dataclass(frozen=True)
class LabelOutcome:
    """The result of judging a file of candidates.

    Attributes:
        pairs, verdicts: paths of the pairs and of all raw verdicts.
        questions, answers: in the file.
        single: questions with fewer than two answers, which leave nothing to compare.
    """

    pairs: str
    verdicts: str
    questions: int
    single: int
    answers: int
    counts: PairCounts


def label_candidates(
    candidates: Sequence[Candidates],
    spec: JudgeSpec,
    answer_template: PromptTemplate,
    output: str,
    *,
    serving: Serving,
    progress: Progress,
) -> LabelOutcome:
    """Judge all answers to each question, and write the pairs and the raw verdicts.

    Args:
        answer_template: of kind `answer`; its chat becomes the pairs' prompt.
        output: Parquet file to write; the verdicts are written beside it.
        serving: how the judge's models are served; its settings' `pairs` select the decisions that become pairs.

    Raises:
        UserError: a model that the judge asks does not exist.
        WorkError: an engine does not start, or the judge cannot go on.
    """
    compared = [item for item in candidates if len(item.answers) > 1]
    judge, verdicts = asyncio.run(_judge_candidates(spec, compared, serving, progress))
    counts = PairCounts()
    rows: list[dict[str, Any]] = []
    for item, given in zip(compared, verdicts, strict=True):
        rows += pair_rows(
            item.as_question,
            dict(enumerate(item.answers)),
            given,
            question_prompt(answer_template, item.as_question),
            judge=judge,
            section=serving.settings.pairs,
            source_columns=_text_columns(item),
            counts=counts,
        )
    path = PurePosixPath(output)
    outcome = LabelOutcome(
        pairs=output,
        verdicts=output.removesuffix(path.name) + f"{path.stem}.verdicts.parquet",
        questions=len(candidates),
        single=len(candidates) - len(compared),
        answers=sum(len(item.answers) for item in candidates),
        counts=counts,
    )
    template = {"prompt": answer_template.name, "prompt_sha": answer_template.sha}
    origin = json.dumps({"rlaif": __version__, "judge": spec.describe(), **template})
    raw = [asdict(verdict) for given in verdicts for verdict in given]
    write_table(outcome.verdicts, pa.Table.from_pylist(raw, schema=VERDICTS))
    write_table(outcome.pairs, pa.Table.from_pylist(rows, schema=PAIRS.with_metadata({"rlaif": origin})))
    return outcome


async def _judge_candidates(
    spec: JudgeSpec, compared: Sequence[Candidates], serving: Serving, progress: Progress
) -> tuple[Judge, list[list[Verdict]]]:
    statuses: Counter[str] = Counter()
    longest = max((shown_bytes(item.as_question, item.answers) for item in compared), default=0)
    asked = [(item.as_question, item.answers) for item in compared]
    trial = smallest(asked, engines=bool(spec.models)) if compared else None
    async with (
        aclosing(JudgeSession([spec], serving, progress, longest=longest)) as session,
        session.open_judge(spec, free=True, trial=trial) as judge,
    ):
        progress.stage(f"{judge.name}: judge answers", len(compared))

        async def ask(item: Candidates) -> list[Verdict]:
            verdicts = await judge.verdicts(item.as_question, item.answers)
            statuses.update(verdict.status for verdict in verdicts)
            progress.advance(1, **{status: str(count) for status, count in sorted(statuses.items())})
            return verdicts

        return judge, await map_bounded(compared, ask)


def _text_columns(item: Candidates) -> Callable[[int, int], dict[str, Any]]:
    """Return the `source_columns` of `pair_rows` for candidates of which only the texts are known.

    A pair's id is the same for the same texts in any file; the answers' numbers distinguish repeated answers.
    """
    question, answers = item.as_question, item.answers

    def columns(chosen: int, rejected: int) -> dict[str, Any]:
        texts = (shown_question(question), question.context, answers[chosen], answers[rejected])
        return {"pair_id": pair_id(*texts, chosen, rejected)}

    return columns
