"""The public Python interface: each function does what its command does, for a notebook or a script.

Invariant: a function calls the same code as its command, raises `rlaif.errors` where the command prints one line, and
prints nothing. All of them also work inside a running event loop, such as a notebook's.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from rlaif.background import outside_loop
from rlaif.data.candidates import read_candidates
from rlaif.data.labels import Label, load_labels
from rlaif.data.question import Question
from rlaif.data.sources import load_questions
from rlaif.io.column_names import ARGUMENT, ColumnNames
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.serving import Serving, serving_settings
from rlaif.judges.spec import JudgeSpec
from rlaif.models.builtin import BUILTIN
from rlaif.progress import Progress, Silent
from rlaif.recipe import FileQuestions, load_recipe

if TYPE_CHECKING:
    from rlaif.judge_evals.judge_report import JudgeReport
    from rlaif.judge_evals.judging import JudgedLabel
    from rlaif.preferences.labelling import LabelOutcome
    from rlaif.rounds.run import RunOutcome
    from rlaif.store.records.merge_record import MergeRecord
    from rlaif.training.from_file import PolicyOutcome

Names = Mapping[str, str | None]
"""A file's own names of columns, by field."""


def load_judge(name: str) -> JudgeSpec:
    """Read and check a judge file, given by its name in `judges/` or its path.

    Raises:
        UserError: with the file, the line, the key and what was expected.

    >>> load_judge("reference").describe()["tolerance"]
    0.005
    """
    return load_judge_file(name)


def read_questions(path: str, columns: Names | None = None) -> list[Question]:
    """Read a file of questions: JSON, CSV or Parquet; see docs/data.md.

    Args:
        path: local path or fsspec URL.
        columns: the file's own names, such as `{"question": "query"}`; None reads no column.

    >>> from pathlib import Path
    >>> _ = Path("questions.jsonl").write_text('{"id": "q1", "question": "What were sales?", "answer": "$7 million"}')
    >>> read_questions("questions.jsonl")[0].gold_answer
    '$7 million'
    """
    return load_questions(FileQuestions(path=path), columns=_named(columns))


def read_labels(path: str, columns: Names | None = None) -> list[Label]:
    """Read a label file: comparisons of two answers that people decided; see `read_questions` and docs/data.md."""
    return load_labels(path, columns=_named(columns))


def _named(columns: Names | None) -> ColumnNames:
    return ColumnNames(columns or {}, ARGUMENT)


def serving(
    model: str = BUILTIN, overrides: Sequence[str] = (), *, address: str | None = None, max_cost: float | None = None
) -> Serving:
    """Say how the models of judges are served, for `compare`, `measure` and `label`.

    Args:
        model: the model behind the name `policy` of a judge file.
        overrides: `KEY=VALUE` each, as of `--set`: `cluster.judge.engines=2`.
        address: Ray cluster to join; None starts one on this machine, if a judge needs engines.
        max_cost: money at which endpoints are asked no more, in the currency of the judge file's prices.
    """
    return Serving(serving_settings(model, overrides), address, False, max_cost)


@outside_loop
def compare(judge: JudgeSpec, question: Question, a: str, b: str, *, served: Serving | None = None) -> "JudgedLabel":
    """Ask a judge which of the answers `a` and `b` to a question is better.

    Args:
        served: of `serving`; None serves the embedded model if a model of our engines is asked.

    Returns:
        All verdicts, and the decision that they come to: None if the judge does not apply to the question. `side` is
        `a`, `b`, `tie`, or None if there is no decision.

    >>> question = Question("q1", "What were sales?", gold_answer="$7 million")
    >>> judged = compare(load_judge("reference"), question, "Sales were $7,000 thousand.", "$8 million")
    >>> judged.side, judged.decision.margin
    ('a', 1.0)
    >>> [verdict.score for verdict in judged.verdicts]
    [1.0, 0.0]
    """
    from rlaif.judge_evals.evaluate import try_judge

    label = Label(
        id=question.id,
        question=question.question,
        context=question.context,
        gold_answer=question.gold_answer,
        criteria=question.criteria,
        messages=question.chat,
        answer_a=a,
        answer_b=b,
        human="tie",
    )
    return try_judge(judge, label, served or serving(), Silent())


@outside_loop
def measure(
    judge: JudgeSpec,
    labels: str,
    *,
    columns: Names | None = None,
    attacks: int = 0,
    seed: int = 0,
    served: Serving | None = None,
    progress: Progress | None = None,
) -> "JudgeReport":
    """Measure a judge against people: `rlaif judge report`.

    Args:
        labels: path of a label file.
        columns: see `read_questions`.
        attacks: right verdicts that each known attack is tried on; 0 leaves the attacks out.
        seed: of the intervals.
        served: see `compare`.
        progress: takes what happens; None shows nothing.

    Returns:
        Every figure by its name in docs/judges.md, with its interval: `report.measurement.figures["accuracy"].value`.

    >>> from pathlib import Path
    >>> label = Label(id="1", question="Sales?", gold_answer="$7 million", answer_a="$7m", answer_b="$8m", human="a")
    >>> _ = Path("labels.jsonl").write_text(label.model_dump_json())
    >>> measure(load_judge("reference"), "labels.jsonl").measurement.figures["accuracy"].value
    1.0
    """
    from rlaif.judge_evals.evaluate import measure_judge

    how, read = served or serving(), load_labels(labels, columns=_named(columns))
    return measure_judge(judge, read, how, progress or Silent(), path=labels, attacks=attacks, seed=seed)


@outside_loop
def label(
    candidates: str,
    judge: JudgeSpec,
    output: str,
    *,
    columns: Names | None = None,
    prompt: str = "answer",
    served: Serving | None = None,
    progress: Progress | None = None,
) -> "LabelOutcome":
    """Judge answers that another system sampled, and write preference pairs: `rlaif label`.

    Args:
        candidates: JSON, CSV or Parquet file with `question` and `answers`; see docs/data.md.
        columns: see `read_questions`.
        output: Parquet file of pairs to write; the verdicts are written beside it.
        prompt: template of kind `answer` whose chat becomes the pairs' prompt.
        served, progress: see `measure`.

    >>> import json
    >>> from pathlib import Path
    >>> row = {"question": "Sales?", "gold_answer": "$7 million", "answers": ["$7 million", "$8 million"]}
    >>> _ = Path("candidates.jsonl").write_text(json.dumps(row))
    >>> label("candidates.jsonl", load_judge("reference"), "pairs.parquet").counts.pairs
    1
    """
    from rlaif.preferences.labelling import label_candidates
    from rlaif.prompts.template import load_template

    template, read = load_template(prompt), read_candidates(candidates, _named(columns))
    return label_candidates(read, judge, template, output, serving=served or serving(), progress=progress or Silent())


@outside_loop
def train(
    file: str,
    policy: str,
    output: str,
    *,
    objective: Literal["dpo", "sft", "kto"] = "dpo",
    columns: Names | None = None,
    overrides: Sequence[str] = (),
    address: str | None = None,
    on_step: Callable[[dict[str, float]], None] | None = None,
) -> "PolicyOutcome":
    """Train a policy on a file of preferences, demonstrations or ratings: `rlaif train`.

    Args:
        file: of preferences for `dpo`, of demonstrations for `sft`, of ratings for `kto`; see docs/data.md.
        policy: model to train: a hub id, a folder, an adapter's folder or `builtin:smollm2-135m`.
        output: folder to make for the trained policy.
        columns: see `read_questions`.
        overrides: `KEY=VALUE` each, as of `--set`: `training.lora.rank=16`.
        address: Ray cluster to join; None starts one on this machine.
        on_step: takes the figures of each optimizer step.
    """
    from rlaif.training.from_file import train_policy

    step, named = on_step or (lambda figures: None), _named(columns)
    return train_policy(
        objective, file, policy, output, columns=named, overrides=overrides, address=address, on_step=step
    )


@outside_loop
def predict(
    questions: str,
    output: str,
    *,
    run: str | None = None,
    policy: str | None = None,
    runs: str = "runs",
    columns: Names | None = None,
    documents: str | None = None,
    overrides: Sequence[str] = (),
    address: str | None = None,
    progress: Progress | None = None,
) -> int:
    """Answer a file of questions greedily, write `id, answer, passage` as CSV, and return how many: `rlaif predict`.

    Where contexts are retrieved from documents, `chunk, document, page` follow.

    Args:
        questions: JSON, CSV or Parquet file with a column `question`.
        run: run whose current policy answers: its name in `runs`, or its path. Give this or `policy`.
        policy: model that answers.
        runs: folder or URL of the runs.
        columns: see `read_questions`; None takes those of the run's recipe.
        documents: folder of the documents that questions without a context are about; None takes that of the run's
            recipe, if it has one.
        overrides, address, progress: see `train` and `measure`.
    """
    from rlaif.evaluation.predict import predict_with_model, predict_with_run

    named = None if columns is None else _named(columns)
    how: dict[str, Any] = {"columns": named, "overrides": list(overrides), "address": address}
    how |= {"documents": documents, "progress": progress or Silent()}
    if run is not None and policy is None:
        return predict_with_run(run, runs, questions, output, **how)
    if policy is not None and run is None:
        return predict_with_model(policy, questions, output, **how)
    raise ValueError("predict: give one of run and policy")


def merge(policy: str, output: str, *, runs: str = "runs") -> "MergeRecord":
    """Write the plain weights of a policy that is an adapter, which transformers and vLLM load: `rlaif merge`.

    Args:
        policy: a run, whose current policy is taken, by its name in `runs` or its path; or an adapter's folder or hub
            id.
        output: folder to make.

    Returns:
        What was merged, with the sha256 of the result; also in the folder's `merge.json`.
    """
    from rlaif.store.merged_policy import merge_policy

    return merge_policy(policy, output, runs=runs)


@outside_loop
def run(
    recipe: str,
    *,
    overrides: Sequence[str] = (),
    runs: str = "runs",
    address: str | None = None,
    progress: Progress | None = None,
) -> "RunOutcome":
    """Run a recipe, or continue a run that was interrupted, and write its report: `rlaif run`.

    Args:
        recipe: path of a recipe, or the name of one in `recipes/`.
        overrides: `KEY=VALUE` each, as of `--set`: `seed=1`.
        runs: folder or URL of the runs.
        address, progress: see `train` and `measure`.

    Raises:
        UserError: the recipe or something that it names is wrong, or the folder holds another run.
        WorkError: the work failed; what is committed stays, and the same call continues.
    """
    from rlaif.reporting.html import write_report
    from rlaif.rounds.run import execute
    from rlaif.rounds.setup import prepare

    setup = prepare(load_recipe(recipe, list(overrides)), runs)
    outcome = execute(setup, address, progress or Silent())
    write_report(outcome.path)
    return outcome
