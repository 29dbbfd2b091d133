"""How long a round takes, stage by stage, and what the stages take of the devices.

A stage takes its arithmetic or memory traffic, over the share of the devices' peak that software reaches. Prefill is
bound by arithmetic, 2 FLOP per parameter and token; decoding on a GPU by memory, since each step reads all weights and
the batch's keys and values once (Pope et al. 2022, arXiv:2211.05102). Training takes 6 FLOP per parameter and token
(Kaplan et al. 2020, arXiv:2001.08361), 4 with a frozen base, and 2 more with recomputed activations. Attention's
quadratic part is left out: a few per cent at the lengths of a question and its answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rlaif.planning.hardware import Hardware
from rlaif.planning.seats import Seats
from rlaif.planning.tokens import JudgeCalls, QuestionSets, RoundTokens, Tokens
from rlaif.recipe import (
    KtoSection,
    PhaseSection,
    PolicyGradientSection,
    PolicyTrainingSection,
    PpoSection,
    Recipe,
    TrainingSection,
)


@dataclass(frozen=True, slots=True)
class Efficiency:
    """The share of the devices' peak that software reaches, and the time to start it.

    Attributes:
        prefill: share of the peak arithmetic while prompts are read.
        decode: share of the memory bandwidth while answers are written; on a CPU, of the peak arithmetic.
        training: share of the peak arithmetic.
        adapter: decoding speed with an adapter, relative to the speed without.
        engine_start, training_start: seconds until an engine answers, and until workers train.
    """

    prefill: float
    decode: float
    training: float
    adapter: float
    engine_start: float
    training_start: float

    def lines(self, gpu: bool) -> list[str]:
        """Return the assumptions in words."""
        bound = "memory bandwidth" if gpu else "peak arithmetic"
        return [
            f"prompts are read at {self.prefill:.0%} of the peak arithmetic, training reaches {self.training:.0%}; "
            f"answers are written at {self.decode:.0%} of the {bound}, {self.adapter:.0%} of that with an adapter",
            f"an engine starts in {self.engine_start:.0f} s, the training workers in {self.training_start:.0f} s",
        ]


# Measured with SmolLM2-135M on two AVX2 cores; prefill is assumed to reach the same share as training.
_CPU = Efficiency(prefill=0.6, decode=0.28, training=0.6, adapter=0.59, engine_start=25, training_start=30)
# Commonly reached by vLLM and a bfloat16 trainer on data-centre GPUs.
_GPU = Efficiency(prefill=0.45, decode=0.6, training=0.35, adapter=0.85, engine_start=90, training_start=60)


@dataclass(frozen=True, slots=True)
class DeviceSeconds:
    """Seconds of GPUs, or of CPU nodes, in a round by stage; their sum is what a round is charged for.

    Attributes:
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
        judge: of each judge that asks a model; a judge with its own engines works while the policy samples.
        starts: seconds in which engines and workers start.
        seconds: of the round.
    """

    tokens: RoundTokens
    sample: float
    judge: tuple[float, ...]
    train: float
    evaluate: float
    starts: float
    seconds: float
    device_seconds: DeviceSeconds


def efficiency(hardware: Hardware) -> Efficiency:
    """Return the figures of the hardware's kind of device."""
    return _GPU if hardware.gpu else _CPU


def baseline_seconds(recipe: Recipe, sets: QuestionSets, seats: Sequence[Seats], hardware: Hardware) -> float:
    """Return the seconds of evaluating the initial policy, with the first starts."""
    start, width = efficiency(hardware).engine_start, recipe.cluster.policy.max_num_seqs
    # Where engines restart, the rounds count the starts of the judges'.
    judges_start = any(seat.role == "judge" for seat in seats) and not _engines_restart(recipe, hardware)
    seconds = _engine_seconds(sets.answer_once(), seats[0], hardware, max_num_seqs=width, adapter=False)
    return seconds + start * (2 if judges_start else 1)


def plan_round(
    recipe: Recipe, tokens: RoundTokens, *, judges: Sequence[JudgeCalls], seats: Sequence[Seats], hardware: Hardware
) -> RoundPlan:
    """Return the plan of a round with its work, the judges that ask a model, and the run's seats."""
    policy, training, cluster = seats[0], seats[-1], recipe.cluster
    phase, number = recipe.phase_of(tokens.number), recipe.locate(tokens.number)[1]
    passes = passes_without_gradients(phase, phase.sampling.temperature_of(number) if phase.sampling else 1.0)
    adapter, width = recipe.training.lora is not None, cluster.policy.max_num_seqs
    # The first round samples from the initial policy, which has no adapter.
    sample = _engine_seconds(tokens.sample, policy, hardware, max_num_seqs=width, adapter=adapter and tokens.number > 0)
    evaluate = _engine_seconds(tokens.evaluate, policy, hardware, max_num_seqs=width, adapter=adapter)
    train = _training_seconds(tokens.train, training, hardware, phase.training, passes)
    own = {seat.model: seat for seat in seats if seat.role == "judge"}
    own["policy"] = policy if adapter else own.get(recipe.policy.model, policy)
    pools = [own[judge.model] for judge in judges]
    judging: list[float] = []
    beside, after = 0.0, 0.0
    for pool, work in zip(pools, tokens.judge, strict=True):
        width = (cluster.policy if pool is policy else cluster.judge).max_num_seqs
        judging.append(_engine_seconds(work, pool, hardware, max_num_seqs=width, adapter=False))
        # On GPUs, a judge's own engines work while the policy samples; on a CPU they share its cores.
        if pool is policy or not hardware.gpu:
            after += judging[-1]
        else:
            beside += judging[-1]
    share = efficiency(hardware)
    starts = share.training_start
    if _engines_restart(recipe, hardware):
        starts += share.engine_start * (2 if any(seat.role == "judge" for seat in seats) else 1)
    seconds = max(sample, beside) + after + train + evaluate + starts
    spent = (
        _devices(policy, hardware) * sample,
        tuple(_devices(pool, hardware) * time for pool, time in zip(pools, judging, strict=True)),
        _devices(training, hardware) * train,
        _devices(policy, hardware) * evaluate,
    )
    idle = hardware.devices * seconds - (spent[0] + sum(spent[1]) + spent[2] + spent[3])
    return RoundPlan(tokens, sample, tuple(judging), train, evaluate, starts, seconds, DeviceSeconds(*spent, idle=idle))


def _engine_seconds(work: Tokens, engines: Seats, hardware: Hardware, *, max_num_seqs: int, adapter: bool) -> float:
    """Return the seconds that a pool takes for some work, with `max_num_seqs` sequences in an engine at once."""
    if not work.requests:
        return 0.0
    share = efficiency(hardware)
    parameters = engines.shape.parameters
    # On a CPU, engines of one node share its cores.
    flops = _devices(engines, hardware) * hardware.flops
    read = 2 * parameters * work.computed / (flops * share.prefill)
    slowdown = 1 / share.adapter if adapter else 1.0
    if not hardware.gpu:
        return read + 2 * parameters * work.written * slowdown / (flops * share.decode)
    sequence = work.sent / work.requests + work.written / work.requests
    per_engine = max(1.0, work.requests / engines.count)
    batch = max(1.0, min(max_num_seqs, per_engine, engines.kv_tokens / sequence))
    step_bytes = parameters * engines.dtype_bytes + batch * sequence * engines.kv_bytes_per_token
    step = step_bytes / (engines.devices_each * hardware.bandwidth * share.decode)
    step = max(step, 2 * parameters * batch / (engines.devices_each * hardware.flops * share.prefill))
    return read + work.written / engines.count / batch * step * slowdown


def passes_without_gradients(phase: PhaseSection, temperature: float) -> int:
    """Return how often the trainer reads each token of a round beside the epochs, such as for the reference policy.

    Args:
        temperature: at which the candidates were sampled.
    """
    training = phase.training
    if isinstance(training, TrainingSection):
        return int(training.reference == "initial" or training.ld_alpha is not None)
    if isinstance(training, KtoSection):
        # The reference policy reads the answers after their prompt and, each epoch, after another; so does the policy.
        return 1 + 2 * training.epochs
    if isinstance(training, PolicyGradientSection):
        own = temperature != 1 or isinstance(training, PpoSection)
        return int(own) + int(training.kl > 0 and training.reference == "initial")
    return 0


def _training_seconds(
    work: Tokens, workers: Seats, hardware: Hardware, training: PolicyTrainingSection, passes: int
) -> float:
    per_token: float = (4 if training.lora else 6) + (2 if training.gradient_checkpointing else 0)
    per_token += 2 * passes / training.epochs
    # A question is trained by one worker: with fewer questions than workers in a step, workers are idle.
    devices = min(_devices(workers, hardware), training.per_step)
    flops = per_token * workers.shape.parameters * work.computed
    return flops / (devices * hardware.flops * efficiency(hardware).training)


def _engines_restart(recipe: Recipe, hardware: Hardware) -> bool:
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
