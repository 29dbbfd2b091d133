"""Judges a file of answers that another system sampled, outside any run, into preference pairs."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from rlaif import __version__
from rlaif.data.candidates import Candidates
from rlaif.judge_evals.ask import ask_all
from rlaif.judges.judge import Judge
from rlaif.judges.serving import Serving
from rlaif.judges.session import judge_session, open_with_cache, shown_bytes
from rlaif.judges.spec import JudgeSpec
from rlaif.judges.verdict import Verdict
from rlaif.preferences.labelled import labelled_rows
from rlaif.preferences.pairs import PairCounts
from rlaif.progress import Progress
from rlaif.prompts.template import PromptTemplate


@dataclass(frozen=True, slots=True)
class LabelOutcome:
    """What became of a file of candidates.

    Attributes:
        pairs: place of the pairs.
        verdicts: place of all raw verdicts.
        questions: in the file.
        single: those of them with fewer than two answers: nothing to compare.
        answers: in the file.
        counts: what the comparisons came to.
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
    serving: Serving,
    progress: Progress,
) -> LabelOutcome:
    """Judge all answers to each question, and write the pairs and the raw verdicts.

    Args:
        candidates: questions with their answers.
        spec: the judge.
        answer_template: the prompt file, of kind `answer`, whose chat stands in the pairs as their prompt.
        output: Parquet file to write; the verdicts go beside it.
        serving: how the judge's models are served; its settings' `pairs` say which decisions become pairs.
        progress: told of each question that is done.

    Raises:
        UserError: a model that the judge asks does not exist.
        WorkError: an engine does not start, or the judge cannot go on.
    """
    asked = [item for item in candidates if len(item.answers) > 1]

    async def work() -> tuple[Judge, list[list[Verdict]]]:
        longest = max((shown_bytes(item.prompt, item.answers) for item in asked), default=0)
        async with (
            judge_session([spec], serving, progress, longest=longest) as session,
            open_with_cache(spec, session, serving, free=True) as judge,
        ):
            return judge, await _ask(judge, asked, progress)

    judge, verdicts = asyncio.run(work())
    counts = PairCounts()
    rows: list[dict[str, Any]] = []
    for item, said in zip(asked, verdicts, strict=True):
        messages = answer_template.render(question=item.prompt.question, context=item.prompt.context)
        rows += labelled_rows(item, said, messages, judge=judge, section=serving.settings.pairs, counts=counts)
    place = PurePosixPath(output)
    beside = output.removesuffix(place.name) + f"{place.stem}.verdicts.parquet"
    _write(output, beside, rows, [verdict for said in verdicts for verdict in said], spec, answer_template)
    return LabelOutcome(
        output, beside, len(candidates), len(candidates) - len(asked), sum(len(c.answers) for c in candidates), counts
    )


async def _ask(judge: Judge, asked: Sequence[Candidates], progress: Progress) -> list[list[Verdict]]:
    progress.stage(f"{judge.name}: judge answers", len(asked))
    statuses: Counter[str] = Counter()

    async def ask(item: Candidates) -> list[Verdict]:
        verdicts = await judge.verdicts(item.prompt, item.answers)
        statuses.update(verdict.status for verdict in verdicts)
        progress.advance(1, **{status: str(count) for status, count in sorted(statuses.items())})
        return verdicts

    return await ask_all(asked, ask)


def _write(
    pairs: str,
    beside: str,
    rows: list[dict[str, Any]],
    verdicts: list[Verdict],
    spec: JudgeSpec,
    prompt: PromptTemplate,
) -> None:
    import pyarrow as pa

    from rlaif.store.schemas import PAIRS, VERDICTS
    from rlaif.store.shards import write_table

    # Whoever finds the file alone can see what judged it.
    made_by = {"rlaif": __version__, "judge": spec.describe(), "prompt": prompt.name, "prompt_sha": prompt.sha}
    schema = PAIRS.with_metadata({"rlaif": json.dumps(made_by)})
    write_table(beside, pa.Table.from_pylist([asdict(verdict) for verdict in verdicts], schema=VERDICTS))
    write_table(pairs, pa.Table.from_pylist(rows, schema=schema))
