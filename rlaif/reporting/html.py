"""`report.html`: a run on one page, without network access and scripts.

Invariant: the page's template escapes every value except the plots of `rlaif.reporting.plots`, which escape their own.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from rlaif.errors import UserError, is_disk_full
from rlaif.io.files import write_bytes
from rlaif.judge_evals.gold_set import GOLD_SET_FILE
from rlaif.reporting import charts
from rlaif.reporting import figure_text as words
from rlaif.reporting.collect import PairStatistics, answer_changes, failure_groups, pair_statistics, training_logs
from rlaif.reporting.judge_statistics import STATUSES, run_verdicts
from rlaif.reporting.reward_rows import reward_rows
from rlaif.reporting.summary import RunSummary, summarize
from rlaif.reporting.timeline import timeline
from rlaif.store.events import now
from rlaif.store.records.round_records import GoldSetRecord
from rlaif.store.records.training_record import TrainingRecord
from rlaif.store.rundir import RunDir

CONTEXT_SHOWN = 6000
_TRAINING = (
    ("loss", "loss"),
    ("margin", "reward margin"),
    ("accuracy", "reward accuracy"),
    ("grad_norm", "gradient norm"),
    ("lr", "learning rate"),
)
_WORDS = ("count", "duration", "figure", "moment", "promotion", "share", "short_id", "span")
_MARGINS_SHOWN = 6
_GOLD_SET_NAMED = 20

Figure = tuple[str, str, Markup]
"""A plot after the two parts of its caption."""


def write_report(run: str, out: str | None = None) -> str:
    """Write a run's page to `out`, by default `report.html` in the run, and return its path. Both may be URLs.

    Raises:
        UserError: there is no such run, one of its files cannot be read, or the page cannot be written.
    """
    directory = RunDir(run)
    path = out or directory.path("report.html")
    page = render_page(directory)
    try:
        write_bytes(path, page.encode("utf-8", errors="replace"))
    except OSError as error:
        if is_disk_full(error):
            raise
        raise UserError(f"{path}: cannot be written: {error.strerror or error}; give another path with --out") from None
    return path


def render_page(run: RunDir) -> str:
    """Return a run's page as HTML."""
    summary = summarize(run)
    directories = run.rounds()
    pairs = pair_statistics(directories)
    logs = training_logs(directories)
    times = timeline(run.events.read())
    gold_set = [GoldSetRecord.read(directory.path(GOLD_SET_FILE)) for directory in directories]
    lengths = charts.length_chart(pairs)
    statistics, unread = run_verdicts(directories)
    judges = [judge.judge for judge in statistics]
    judges += sorted({name for entry in pairs for name in entry.margins} - set(judges))
    colours = {judge: charts.COLOURS[index % len(charts.COLOURS)] for index, judge in enumerate(judges)}
    decided_by: Counter[str] = Counter()
    for record in summary.rounds:
        decided_by.update(record.stages.pairs.by_judge if record.stages.pairs else {})
    measured = {name for policy in summary.policies for name in policy.metrics}
    template = page_environment().get_template("page.html.j2")
    return template.render(
        written=now(),
        summary=summary,
        headline=words.headline(summary),
        metrics=_metric_figures(summary),
        columns=[metric for metric in charts.METRICS if metric.name in measured],
        margins=_margin_figures(pairs, colours),
        pairs=pairs,
        lengths=[] if lengths is None else [("tokens by round", "medians and quartiles", lengths)],
        colours_of_pairs=[(colours[name], name) for name in judges if any(name in entry.margins for entry in pairs)],
        judges=statistics,
        decided_by=decided_by,
        unread=unread,
        gold_set=[record for record in gold_set if record is not None],
        gold_set_named=_GOLD_SET_NAMED,
        rewards=reward_rows(directories, summary),
        statuses=STATUSES,
        changes=answer_changes(run, summary),
        context_shown=CONTEXT_SHOWN,
        training=_training_figures(logs),
        logs=logs,
        failures=failure_groups(directories),
        times=times,
        time_chart=charts.time_chart(times),
        judge_tree=list(summary.record.judge.walk()),
        recipe=run.recipe_text(),
    )


def page_environment(*folders: Path) -> Environment:
    """Return an environment that escapes values and rejects missing ones, with templates of `folders` and this one."""
    environment = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update({name: getattr(words, name) for name in _WORDS})
    return environment


def _metric_figures(summary: RunSummary) -> list[Figure]:
    drawn = [(metric.label, metric.unit, charts.metric_chart(metric, summary.policies)) for metric in charts.METRICS]
    return [(label, unit, svg) for label, unit, svg in drawn if svg is not None]


def _margin_figures(pairs: Sequence[PairStatistics], colours: Mapping[str, str]) -> list[Figure]:
    shown = pairs if len(pairs) <= _MARGINS_SHOWN else (pairs[0], *pairs[-(_MARGINS_SHOWN - 1) :])
    most = max((sum(column) for entry in shown for column in zip(*entry.margins.values(), strict=True)), default=1)
    return [
        (f"round {entry.round}", words.count(entry.pairs, "pair"), charts.margin_chart(entry, colours, most))
        for entry in shown
    ]


def _training_figures(logs: Mapping[int, TrainingRecord]) -> list[Figure]:
    drawn = [(label, *found) for name, label in _TRAINING if (found := charts.training_chart(name, label, logs))]
    return [(label, f"mean of {every} steps a point" if every > 1 else "", svg) for label, svg, every in drawn]
