"""The time of one round, stage by stage, and what the stages take of the devices."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rlaif.planning.duration import efficiency, engine_seconds, training_seconds
from rlaif.planning.hardware import Hardware
from rlaif.planning.judge_calls import JudgeCalls
from rlaif.planning.seats import Seats
from rlaif.planning.tokens import RoundTokens
from rlaif.recipe import Recipe


@dataclass(frozen=True, slots=True)
class DeviceSeconds:
    """Seconds of GPUs, or of CPU nodes, in a round; their sum is what a round is charged for.

    Attributes:
        sample, train, evaluate: of the stage's devices.
        judge: of each judge that asks a model.
        idle: of devices that start or wait for another stage.
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
        tokens: by stage.
        sample, train, evaluate: seconds.
        judge: seconds of each judge that asks a model; a judge with its own engines works while the policy samples.
        starts: seconds in which engines and workers start.
        seconds: of the round.
        device_seconds: of the devices, by stage.
    """

    tokens: RoundTokens
    sample: float
    judge: tuple[float, ...]
    train: float
    evaluate: float
    starts: float
    seconds: float
    device_seconds: DeviceSeconds


def plan_round(
    recipe: Recipe, tokens: RoundTokens, *, judges: Sequence[JudgeCalls], seats: Sequence[Seats], hardware: Hardware
) -> RoundPlan:
    """Return the plan of a round with its work, the judges that ask a model, and the run's seats."""
    policy, training, cluster = seats[0], seats[-1], recipe.cluster
    adapter, width = recipe.training.lora is not None, cluster.policy.max_num_seqs
    # The first round samples from the initial policy, which has no adapter.
    sample = engine_seconds(tokens.sample, policy, hardware, max_num_seqs=width, adapter=adapter and tokens.number > 0)
    evaluate = engine_seconds(tokens.evaluate, policy, hardware, max_num_seqs=width, adapter=adapter)
    train = training_seconds(tokens.train, training, hardware, recipe.training)
    pools = {seat.model: seat for seat in seats if seat.role == "judge"}
    pools["policy"] = policy if adapter else pools.get(recipe.policy.model, policy)
    judging: list[float] = []
    beside, after = 0.0, 0.0
    for judge, work in zip(judges, tokens.judge, strict=True):
        pool = pools[judge.model]
        width = (cluster.policy if pool is policy else cluster.judge).max_num_seqs
        judging.append(engine_seconds(work, pool, hardware, max_num_seqs=width, adapter=False))
        # On GPUs, a judge's own engines work while the policy samples; on a CPU they share its cores.
        if pool is policy or not hardware.gpu:
            after += judging[-1]
        else:
            beside += judging[-1]
    share = efficiency(hardware)
    starts = share.training_start
    if engines_restart(recipe, hardware):
        starts += share.engine_start * (2 if any(seat.role == "judge" for seat in seats) else 1)
    seconds = max(sample, beside) + after + train + evaluate + starts
    spent = (
        _devices(policy, hardware) * sample,
        tuple(_devices(pools[judge.model], hardware) * time for judge, time in zip(judges, judging, strict=True)),
        _devices(training, hardware) * train,
        _devices(policy, hardware) * evaluate,
    )
    idle = hardware.devices * seconds - (spent[0] + sum(spent[1]) + spent[2] + spent[3])
    return RoundPlan(tokens, sample, tuple(judging), train, evaluate, starts, seconds, DeviceSeconds(*spent, idle=idle))


def engines_restart(recipe: Recipe, hardware: Hardware) -> bool:
    """Return whether engines give their devices to the trainer, and start again after it."""
    return hardware.gpu and recipe.cluster.placement == "shared"


def seconds_saved_by_staleness(rounds: Sequence[RoundPlan]) -> float:
    """Return the seconds that rounds save by sampling and judging while the round before trains."""
    saved = 0.0
    for entry, following in pairwise(rounds):
        sampling = following.seconds - following.train - following.evaluate - following.starts
        saved += min(sampling, entry.train + entry.starts)
    return saved


def _devices(seats: Seats, hardware: Hardware) -> int:
    """Return the GPUs of seats, or the CPU nodes that they run on."""
    return seats.devices if hardware.gpu else min(seats.count, hardware.nodes)
