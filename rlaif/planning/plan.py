"""The plan of a run: what its recipe needs of the machines, computed without starting anything.

Invariant: a plan that is returned fits its machines, and lists its assumptions.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.spec import JudgeSpec
from rlaif.planning.duration import RoundPlan, baseline_seconds, efficiency, plan_round, seconds_saved_by_staleness
from rlaif.planning.hardware import Hardware, HardwareOptions, describe_hardware, wants_gpus
from rlaif.planning.node_layout import NodeLayout, lay_out
from rlaif.planning.seats import Seats, check_seats, gpus_needed, place_run
from rlaif.planning.tokens import (
    JudgeCalls,
    Questions,
    QuestionSets,
    judge_calls,
    judged_tokens,
    measure_questions,
    phase_sizes,
    round_tokens,
    total,
)
from rlaif.recipe import JudgeSection, Recipe
from rlaif.recipe.judge import OpenAIBackend, VllmBackend
from rlaif.retrieval.recipe_searcher import check_searcher
from rlaif.rounds.setup import with_adapter_settings


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """Given figures, which are used instead of measured or assumed ones; lengths are means."""

    hardware: HardwareOptions = field(default_factory=HardwareOptions)
    questions: int | None = None
    prompt_tokens: int | None = None
    answer_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The needs of a run.

    Attributes:
        layout: the seats by node; None on CPUs, where every node has its share of all.
        judges: those that ask a model of the run's engines.
        questions: of the train and of the held-out set.
        baseline_seconds: evaluating the initial policy, with the first starts.
        seconds: of the run; less than the sum of its rounds with `rounds.staleness`.
        at_most: whether the answers' lengths or a panel's calls are upper bounds.
        cost: money, if a price is given.
    """

    recipe: Recipe
    hardware: Hardware
    seats: tuple[Seats, ...]
    layout: NodeLayout | None
    judges: tuple[JudgeCalls, ...]
    questions: tuple[Questions, Questions]
    rounds: tuple[RoundPlan, ...]
    baseline_seconds: float
    seconds: float
    at_most: bool
    cost: float | None
    assumptions: tuple[str, ...]


def make_plan(recipe: Recipe, options: PlanOptions) -> Plan:
    """Return the plan of a run.

    Raises:
        UserError: a file, model or setting is wrong, or the recipe does not fit the machines.
    """
    recipe = with_adapter_settings(recipe)
    gpu, why_gpu = wants_gpus(recipe.cluster, options.hardware)
    specs = [load_judge_file(section.name, section) for section in _judge_sections(recipe)]
    each_once = list({spec.sha: spec for spec in specs}.values())
    judges = [calls for spec in each_once for calls, _ in judge_calls(spec, VllmBackend)]
    hardware = describe_hardware(options.hardware, gpu, gpus_needed(recipe, judges))
    sets, notes = _question_sets(recipe, each_once, options)
    criteria = max(sets.train.criteria_tokens, sets.heldout.criteria_tokens)
    seats = place_run(recipe, judges, hardware, criteria_tokens=criteria)
    check_seats(seats, recipe.cluster.placement, hardware)
    layout = lay_out(seats, recipe.cluster.placement, hardware) if gpu else None
    asked = [{specs[recipe.locate(number)[0]].sha} for number in range(recipe.rounds.count)]
    work = [round_tokens(recipe, number, sets, judges, shas) for number, shas in enumerate(asked)]
    rounds = [plan_round(recipe, tokens, judges=judges, seats=seats, hardware=hardware) for tokens in work]
    baseline = baseline_seconds(recipe, sets, seats, hardware)
    saved = seconds_saved_by_staleness(rounds) if recipe.rounds.staleness else 0.0
    seconds = baseline + sum(entry.seconds for entry in rounds) - saved
    price = options.hardware.price
    assumptions = [
        *([why_gpu] if why_gpu else []),
        *hardware.assumptions,
        *_seat_lines(seats, layout, hardware),
        *notes,
        *_work_lines(recipe, judges, None if options.answer_tokens else sets.answer_tokens),
        *efficiency(hardware).lines(gpu),
        *(line for spec in each_once for line in _remote_lines(spec, _judged(recipe, rounds, asked, spec.sha), sets)),
    ]
    if recipe.judge.gold_set is not None:
        assumptions.append(f"the gold set {recipe.judge.gold_set.path}, judged once a round, is not counted")
    if (documents := recipe.questions.documents) is not None:
        check_searcher(documents)
        if documents.contexts == "retrieved" and (documents.encoder or documents.rerank):
            assumptions.append(
                "encoding and reranking the documents' chunks, before the run's engines start, is not counted"
            )
    assumptions += [f"{path}, whose rows join those of the rounds, is not counted" for path in _joining(recipe)]
    if recipe.reward.retrain:
        assumptions.append("the trainings of the judge's reward model are not counted")
    if recipe.rounds.staleness:
        assumptions.append(f"each round is sampled while the one before trains: {saved:,.0f} s less in all")
    return Plan(
        recipe=recipe,
        hardware=hardware,
        seats=tuple(seats),
        layout=layout,
        judges=tuple(judges),
        questions=(sets.train, sets.heldout),
        rounds=tuple(rounds),
        baseline_seconds=baseline,
        seconds=seconds,
        at_most=options.answer_tokens is None or any(judge.settles for judge in judges),
        cost=None if price is None else price * hardware.devices * seconds / 3600,
        assumptions=tuple(assumptions),
    )


def _question_sets(recipe: Recipe, judges: Sequence[JudgeSpec], options: PlanOptions) -> tuple[QuestionSets, list[str]]:
    """Return the run's questions, and the assumptions made of them."""
    prompt_tokens, longest = options.prompt_tokens, recipe.sampling.max_tokens
    train, notes = measure_questions(recipe, "train", judges, count=options.questions, prompt_tokens=prompt_tokens)
    heldout, lines = measure_questions(recipe, "heldout", judges, count=None, prompt_tokens=prompt_tokens)
    notes, test = notes + lines, None
    if recipe.questions.test is not None:
        test, lines = measure_questions(recipe, "test", judges, count=None, prompt_tokens=prompt_tokens)
        notes += lines
    answer_tokens = min(options.answer_tokens or longest, longest)
    return QuestionSets(train, heldout, test, answer_tokens, phase_sizes(recipe, train.count)), notes


def _seat_lines(seats: Sequence[Seats], layout: NodeLayout | None, hardware: Hardware) -> Iterator[str]:
    shapes = {seat.model: seat.shape for seat in seats}
    for model, shape in shapes.items():
        yield f"{model}: {shape.parameters / 1e9:.3g} billion parameters ({shape.source})"
    for share in layout.spanning if layout else ():
        engines = "an engine spans" if share.count == 1 else f"{share.count} engines span"
        yield (
            f"cluster.{share.role}: {engines} several nodes, since no node has enough free GPUs (the largest of "
            f"{hardware.nodes} has {max(hardware.gpus_of_nodes)}); the time that this costs is not counted"
        )


def _work_lines(recipe: Recipe, judges: Sequence[JudgeCalls], longest_answer: int | None) -> Iterator[str]:
    """Yield the assumptions about the work; `longest_answer` is None if the mean length was given."""
    if longest_answer is not None:
        yield f"answers of {longest_answer} tokens, the most that the recipe allows (--answer-tokens)"
    if any(judge.settles for judge in judges):
        yield "the panel's model is counted for every comparison, as if its exact check decided none"
    workers = recipe.cluster.training.workers
    for key, step in {phase.training.per_step_key: phase.training.per_step for phase in recipe.every_phase}.items():
        if workers > step:
            yield (
                f"{workers - step} of {workers} training workers are idle: a step has {step} "
                f"{key.removesuffix('_per_step')} (training.{key})"
            )


def _joining(recipe: Recipe) -> list[str]:
    """Return the files of people whose rows rounds learn from beside their candidates."""
    preferences = [recipe.feedback.preferences.path] if recipe.feedback.preferences else []
    files = [path for phase in recipe.every_phase if phase.sampling for path in phase.files.values()]
    return list(dict.fromkeys([*preferences, *files]))


def _judge_sections(recipe: Recipe) -> list[JudgeSection]:
    """Return the judge of each phase; the recipe's own where a phase asks none."""
    return [phase.judge or recipe.judge for phase in recipe.every_phase]


def _judged(
    recipe: Recipe, rounds: Sequence[RoundPlan], asked: Sequence[Collection[str]], sha: str
) -> list[tuple[int, int]]:
    """Return the questions that a judge is asked of in each of its rounds, and the candidates of each."""
    found = []
    for entry, shas in zip(rounds, asked, strict=True):
        sampling = recipe.phase_of(entry.tokens.number).sampling
        if sampling is not None and sha in shas:
            found.append((entry.tokens.questions, sampling.candidates))
    return found


def _remote_lines(judge: JudgeSpec, judged: Sequence[tuple[int, int]], sets: QuestionSets) -> Iterator[str]:
    """Yield the requests and the money of each judge that asks an endpoint."""
    for calls, backend in judge_calls(judge, OpenAIBackend) if judged else ():
        work = total(judged_tokens(calls, questions, candidates, sets) for questions, candidates in judged)
        sizes = f"up to {work.requests:,} requests of {work.sent:,} prompt and {work.written:,} answer tokens"
        line = f"judge {calls.name} is asked at {backend.base_url}: {sizes}"
        if backend.prices is not None:
            line += f", {backend.prices.cost(work.sent, work.written):,.2f} {backend.prices.currency} at its prices"
        yield f"{line}; neither its time nor its money is counted below"
