"""How long work takes: its arithmetic or memory traffic, over the share of the devices' peak that software reaches.

Prefill is bound by arithmetic, 2 FLOP per parameter and token; decoding on a GPU by memory, since each step reads
all weights and the batch's keys and values once (Pope et al. 2022, arXiv:2211.05102). Training takes 6 FLOP per
parameter and token (Kaplan et al. 2020, arXiv:2001.08361), 4 with a frozen base, and 2 more with recomputed
activations. Attention's quadratic part is left out: a few per cent at the lengths of a question and its answers.
"""

from dataclasses import dataclass

from rlaif.planning.hardware import Hardware
from rlaif.planning.seats import Seats
from rlaif.planning.tokens import Tokens
from rlaif.recipe import TrainingSection


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
CPU = Efficiency(prefill=0.6, decode=0.28, training=0.6, adapter=0.59, engine_start=25, training_start=30)
# Commonly reached by vLLM and a bfloat16 trainer on data-centre GPUs.
GPU = Efficiency(prefill=0.45, decode=0.6, training=0.35, adapter=0.85, engine_start=90, training_start=60)


def efficiency(hardware: Hardware) -> Efficiency:
    """Return the figures of the hardware's kind of device."""
    return GPU if hardware.gpu else CPU


def engine_seconds(work: Tokens, engines: Seats, hardware: Hardware, *, max_num_seqs: int, adapter: bool) -> float:
    """Return the seconds that a pool takes for some work, with `max_num_seqs` sequences in an engine at once."""
    if not work.requests:
        return 0.0
    share = efficiency(hardware)
    parameters = engines.shape.parameters
    # On a CPU, engines of one node share its cores.
    devices = engines.devices if hardware.gpu else min(engines.count, hardware.nodes)
    flops = devices * hardware.flops
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


def training_seconds(work: Tokens, workers: Seats, hardware: Hardware, training: TrainingSection) -> float:
    """Return the seconds that the training of one round takes."""
    per_token: float = (4 if training.lora else 6) + (2 if training.gradient_checkpointing else 0)
    if training.reference == "initial":
        per_token += 2 / training.epochs  # One forward pass under the initial policy.
    # A question is trained by one worker: with fewer questions than workers in a step, workers are idle.
    devices = min(workers.count, training.questions_per_step)
    if not hardware.gpu:
        devices = min(devices, hardware.nodes)
    flops = per_token * workers.shape.parameters * work.computed
    return flops / (devices * hardware.flops * efficiency(hardware).training)
