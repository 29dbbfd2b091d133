"""The plan of a run: a recipe, held against the machines it would run on, with nothing started.

Invariant: a plan that is returned fits its machines, and says whatever it assumed.
"""

from dataclasses import dataclass, field
from itertools import pairwise

from rlaif.errors import UserError
from rlaif.inference.backends import OpenAIBackend
from rlaif.inference.pools import judge_context
from rlaif.judges.judge_file import load_judge_file
from rlaif.models.context import context_within
from rlaif.models.dtype import weights_dtype
from rlaif.models.shape import ModelShape
from rlaif.models.shape_lookup import model_shape
from rlaif.planning.duration import efficiency, engine_seconds, training_seconds
from rlaif.planning.hardware import Hardware, HardwareOptions, describe_hardware, wants_gpus
from rlaif.planning.judges import JudgeCalls, judge_calls, remote_calls
from rlaif.planning.layout import Layout, Share, lay_out
from rlaif.planning.placement import Seats, check_together, gpus_needed, place_engines, place_training
from rlaif.planning.tokens import (
    Questions,
    RoundTokens,
    Tokens,
    answer_once,
    judged_tokens,
    measure_questions,
    round_tokens,
)
from rlaif.prompts.template import load_template
from rlaif.recipe import Recipe

_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What a person may say of a run instead of having it measured or assumed.

    Attributes:
        hardware: of the machines.
        questions: count of the train set.
        prompt_tokens: mean length of a question's prompt.
        answer_tokens: mean length of an answer.
    """

    hardware: HardwareOptions = field(default_factory=HardwareOptions)
    questions: int | None = None
    prompt_tokens: int | None = None
    answer_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceSeconds:
    """Seconds of GPUs, or of CPU nodes, that a round takes of a cluster.

    Attributes:
        sample, train, evaluate: of the devices that do it.
        judge: of each judge that asks a model.
        idle: the rest: devices that start, or wait for another stage. The sum is what is paid for.
    """

    sample: float
    judge: tuple[float, ...]
    train: float
    evaluate: float
    idle: float


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """The tokens of a round and the seconds of its stages.

    Attributes:
        tokens: stage by stage.
        sample, train, evaluate: seconds.
        judge: seconds of each judge that asks a model; with engines of its own it works while the policy's sample.
        starts: seconds that engines and workers take to start.
        seconds: of the round.
        device_seconds: what the stages take of the devices.
    """

    tokens: RoundTokens
    sample: float
    judge: tuple[float, ...]
    train: float
    evaluate: float
    starts: float
    seconds: float
    device_seconds: DeviceSeconds


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would need.

    Attributes:
        recipe: the run's.
        hardware: the machines.
        seats: the policy's engines, the engines of judges' own models, the training workers.
        layout: on which nodes they are; None on CPUs, where a node has its share of all.
        judges: those that ask a model; `model` says which.
        questions: of the train and of the held-out set.
        rounds: one each.
        baseline_seconds: measuring the initial policy, first starts included.
        seconds: of the run; less than its rounds' where one is sampled while another trains.
        at_most: whether answers' lengths or a panel's calls are counted as the most that they can be.
        cost: money, where a price is given.
        assumptions: one line each.
    """

    recipe: Recipe
    hardware: Hardware
    seats: tuple[Seats, ...]
    layout: Layout | None
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

    Args:
        recipe: the run's.
        options: what is given of machines and data.

    Raises:
        UserError: a file, model or setting is wrong, or the recipe does not fit the machines.
    """
    assumptions: list[str] = []
    gpu, why = wants_gpus(recipe, options.hardware)
    assumptions += [why] if why else []
    dtype_bytes = _DTYPE_BYTES[weights_dtype(recipe.policy.dtype, gpu)]
    judge_spec = load_judge_file(recipe.judge.name)
    judges = judge_calls(judge_spec)
    own = _own_judge_models(recipe, judges)
    hardware = describe_hardware(options.hardware, gpu, gpus_needed(recipe.cluster, len(own)))
    assumptions += hardware.assumptions
    seats = _seats(recipe, own, judges, hardware, dtype_bytes, assumptions)
    check_together(seats, recipe.cluster.placement, hardware)
    layout = lay_out(seats, recipe.cluster.placement, hardware) if gpu else None
    if layout is not None:
        assumptions += [_spanning_line(share, hardware) for share in layout.spanning]
    train, heldout, test = _questions(recipe, options, assumptions)
    answer_tokens = min(options.answer_tokens or recipe.sampling.max_tokens, recipe.sampling.max_tokens)
    if options.answer_tokens is None:
        assumptions.append(f"answers of {answer_tokens} tokens, the most that the recipe allows (--answer-tokens)")
    if any(judge.settles for judge in judges):
        assumptions.append("the panel's model is counted with every comparison, as if its exact check settled none")
    workers, step = recipe.cluster.training.workers, recipe.training.questions_per_step
    if workers > step:
        idle = f"{workers - step} of {workers} training workers wait"
        assumptions.append(f"{idle}: a step has {step} questions (training.questions_per_step)")
    assumptions += efficiency(hardware).lines(gpu)
    work = [
        round_tokens(recipe, number, train, heldout, test, judges, answer_tokens)
        for number in range(recipe.rounds.count)
    ]
    rounds = [_round(recipe, tokens, judges, seats, hardware) for tokens in work]
    asked = sum(tokens.questions for tokens in work)
    assumptions += [
        _remote_line(
            calls, backend, judged_tokens(calls, asked, recipe.sampling.candidates, train.prompt_tokens, answer_tokens)
        )
        for calls, backend in remote_calls(judge_spec)
    ]
    if recipe.judge.canaries is not None:
        assumptions.append(f"the gold set {recipe.judge.canaries.path}, judged once a round, is not counted")
    baseline = answer_once(heldout, answer_tokens)
    if test is not None:
        baseline += answer_once(test, answer_tokens)
    start = efficiency(hardware).engine_start
    width = recipe.cluster.policy.max_num_seqs
    baseline_seconds = start + engine_seconds(baseline, seats[0], hardware, max_num_seqs=width, adapter=False)
    if own and not _released(recipe, gpu):
        baseline_seconds += start
    seconds = baseline_seconds + sum(entry.seconds for entry in rounds)
    if recipe.rounds.staleness:
        saved = _overlap(rounds)
        seconds -= saved
        assumptions.append(f"rounds are sampled while the ones before them train: {saved:,.0f} s less in all")
    price = options.hardware.price
    return Plan(
        recipe=recipe,
        hardware=hardware,
        seats=tuple(seats),
        layout=layout,
        judges=tuple(judges),
        questions=(train, heldout),
        rounds=tuple(rounds),
        baseline_seconds=baseline_seconds,
        seconds=seconds,
        at_most=options.answer_tokens is None or any(judge.settles for judge in judges),
        cost=None if price is None else price * hardware.devices * seconds / 3600,
        assumptions=tuple(assumptions),
    )


def _own_judge_models(recipe: Recipe, judges: list[JudgeCalls]) -> list[str]:
    """Return the models that judge with engines of their own, each once.

    A judge in the policy's name shares its engines while their base stays: with an adapter, not with full weights.
    """
    shares = recipe.training.lora is not None
    models = {judge.model for judge in judges}
    return sorted(model for model in models if not (model == "policy" and shares))


def _seats(
    recipe: Recipe,
    own: list[str],
    judges: list[JudgeCalls],
    hardware: Hardware,
    dtype_bytes: int,
    assumptions: list[str],
) -> list[Seats]:
    policy = recipe.policy
    shape = model_shape(policy.model, policy.revision)
    assumptions.append(_shape_line(policy.model, shape))
    lora = recipe.training.lora
    shares = lora is not None and any(judge.model == "policy" for judge in judges)
    judge_tokens = max((judge.output_tokens for judge in judges), default=0)
    seats = [
        place_engines(
            "policy", policy.model, shape, recipe.cluster.policy, hardware,
            dtype_bytes=dtype_bytes, context=_context(recipe, policy.model, judge_tokens if shares else 0),
            lora_rank=lora.rank if lora else None,
        )
    ]  # fmt: skip
    for name in own:
        model = policy.model if name == "policy" else name
        its_shape = shape if name == "policy" else model_shape(model)
        if name != "policy":
            assumptions.append(_shape_line(model, its_shape))
        seats.append(
            place_engines(
                "judge", model, its_shape, recipe.cluster.judge, hardware,
                dtype_bytes=dtype_bytes, context=_context(recipe, model, judge_tokens), lora_rank=None,
            )
        )  # fmt: skip
    return [*seats, place_training(recipe, shape, hardware, dtype_bytes=dtype_bytes)]


def _context(recipe: Recipe, model: str, judge_tokens: int) -> int:
    """Return the longest sequence that an engine takes, in tokens; `judge_tokens` is 0 where it serves no judge."""
    wanted = judge_context(recipe.policy, recipe.sampling, judge_tokens) if judge_tokens else recipe.policy.max_length
    return context_within(model, wanted)


def _remote_line(calls: JudgeCalls, backend: OpenAIBackend, tokens: Tokens) -> str:
    sizes = f"up to {tokens.requests:,} requests of {tokens.sent:,} prompt and {tokens.written:,} answer tokens"
    line = f"judge {calls.name} is asked at {backend.base_url}: {sizes}"
    if backend.prices is not None:
        line += f", {backend.prices.cost(tokens.sent, tokens.written):,.2f} {backend.prices.currency} at its prices"
    return f"{line}; neither its time nor its money is counted below"


def _shape_line(model: str, shape: ModelShape) -> str:
    return f"{model}: {shape.parameters / 1e9:.3g} billion parameters ({shape.source})"


def _spanning_line(share: Share, hardware: Hardware) -> str:
    engines = "an engine" if share.count == 1 else f"{share.count} engines"
    room = f"none has room for a whole one (the largest of {hardware.nodes} has {max(hardware.gpus_of_nodes)} GPUs)"
    return f"{engines} of cluster.{share.role} over several nodes: {room}; no time is counted for that"


def _questions(
    recipe: Recipe, options: PlanOptions, assumptions: list[str]
) -> tuple[Questions, Questions, Questions | None]:
    render = load_template(recipe.policy.prompt).render
    longest = recipe.policy.max_length - recipe.sampling.max_tokens
    found: list[Questions | None] = []
    for role, source in (
        ("train", recipe.questions.train), ("heldout", recipe.questions.heldout), ("test", recipe.questions.test),
    ):  # fmt: skip
        if source is None:
            found.append(None)
            continue
        questions, notes = measure_questions(
            role, source, lambda prompt: render(question=prompt.question, context=prompt.context),
            count=options.questions if role == "train" else None, prompt_tokens=options.prompt_tokens, longest=longest,
        )  # fmt: skip
        found.append(questions)
        assumptions += notes
    train, heldout, test = found
    if train is None or heldout is None:
        raise UserError("questions: train and heldout are both needed")
    return train, heldout, test


def _released(recipe: Recipe, gpu: bool) -> bool:
    """Whether engines give their devices to the trainer, and start again after it."""
    return gpu and recipe.cluster.placement == "shared"


def _round(
    recipe: Recipe, tokens: RoundTokens, judges: list[JudgeCalls], seats: list[Seats], hardware: Hardware
) -> RoundPlan:
    policy, training = seats[0], seats[-1]
    pools = {"policy": policy} | {seat.model: seat for seat in seats if seat.role == "judge"}
    if recipe.training.lora is None:
        pools["policy"] = next((s for s in seats if s.role == "judge" and s.model == recipe.policy.model), policy)
    adapter = recipe.training.lora is not None
    cluster = recipe.cluster
    sample = engine_seconds(
        tokens.sample, policy, hardware, max_num_seqs=cluster.policy.max_num_seqs, adapter=adapter and tokens.number > 0
    )
    evaluate = engine_seconds(
        tokens.evaluate, policy, hardware, max_num_seqs=cluster.policy.max_num_seqs, adapter=adapter
    )
    judging: list[float] = []
    judge_devices: list[int] = []
    beside, after = 0.0, 0.0
    for judge, work in zip(judges, tokens.judge, strict=True):
        pool = pools[judge.model]
        width = cluster.policy.max_num_seqs if pool is policy else cluster.judge.max_num_seqs
        seconds = engine_seconds(work, pool, hardware, max_num_seqs=width, adapter=False)
        judging.append(seconds)
        judge_devices.append(_devices(pool, hardware))
        # Engines of a judge's own judge while the policy's sample; on a CPU they share its cores.
        if pool is policy or not hardware.gpu:
            after += seconds
        else:
            beside += seconds
    train = training_seconds(tokens.train, training, hardware, recipe.training)
    share = efficiency(hardware)
    starts = share.training_start
    if _released(recipe, hardware.gpu):
        starts += share.engine_start * (2 if any(seat.role == "judge" for seat in seats) else 1)
    seconds = max(sample, beside) + after + train + evaluate + starts
    of_policy, of_training = _devices(policy, hardware), _devices(training, hardware)
    of_judges = tuple(devices * spent for devices, spent in zip(judge_devices, judging, strict=True))
    busy = of_policy * (sample + evaluate) + of_training * train + sum(of_judges)
    device_seconds = DeviceSeconds(
        of_policy * sample, of_judges, of_training * train, of_policy * evaluate, hardware.devices * seconds - busy
    )
    return RoundPlan(tokens, sample, tuple(judging), train, evaluate, starts, seconds, device_seconds)


def _overlap(rounds: list[RoundPlan]) -> float:
    """Return the seconds that rounds save whose sampling and judging falls into the training of the round before."""
    saved = 0.0
    for entry, following in pairwise(rounds):
        sampling = following.seconds - following.train - following.evaluate - following.starts
        saved += min(sampling, entry.train + entry.starts)
    return saved


def _devices(seats: Seats, hardware: Hardware) -> int:
    """Return the GPUs that seats have, or the CPU nodes that they are on."""
    return seats.devices if hardware.gpu else min(seats.count, hardware.nodes)
