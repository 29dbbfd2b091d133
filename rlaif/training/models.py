"""Models of a training: loaded, used to score candidates, and saved for engines, judges and transformers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from rlaif.errors import WorkError
from rlaif.io.files import local_folder, put_folder
from rlaif.models.dtype import bfloat16_passes, weights_dtype
from rlaif.models.resolve import file_sha256, resolve_adapter, weights_id
from rlaif.models.trainable import read_config
from rlaif.recipe import LoraSection
from rlaif.training.groups import Group, pack_in_order
from rlaif.training.job import StartingWeights

if TYPE_CHECKING:
    import torch

    from rlaif.training.shared_prompt import PackedRow, TokenOutputs

T = TypeVar("T")


def load_policy(
    start: StartingWeights, base: str, lora: LoraSection | None, *, gpu: bool, sharded: bool = False
) -> Any:
    """Return the model to train: full weights in float32, or frozen weights with an adapter in float32.

    Args:
        base: local folder of `start.base`.
        lora: the adapter to train; None trains all weights.
        sharded: shard it over the workers, each of which calls.
    """
    folder = local_folder(start.path, start.id) if start.path else initial_adapter(start)
    # The optimizer needs all trained weights in float32; on a GPU the passes run in bfloat16 all the same.
    dtype = weights_dtype(start.dtype, gpu) if lora else "float32"
    model = _load(base if lora else folder or base, dtype, gpu=gpu, sharded=sharded)
    if lora:
        model = _with_adapter(model, start, base, lora, folder=folder)
    return shard_over_workers(model, start.dtype, gpu) if sharded else model


def _with_adapter(model: Any, start: StartingWeights, base: str, lora: LoraSection, *, folder: str) -> Any:
    """Return a model with the adapter of a folder, or with a new one."""
    from peft import PeftConfig, PeftModel, get_peft_model

    from rlaif.training.lora_scope import lora_scope

    # Readers of the adapter find its base by its name and revision: those of a hub where it has them.
    here = start.base.startswith("builtin:") or Path(start.base).is_dir()
    name, revision = (base, None) if here else (start.base, start.revision)
    if folder and model.device.type != "meta":
        adapted = PeftModel.from_pretrained(model, folder, is_trainable=True)
    else:
        config = PeftConfig.from_pretrained(folder) if folder else lora_config(lora, "CAUSAL_LM")
        if not folder and lora.targets == "all-linear":
            lora_scope(model).apply(config)
        config.inference_mode = False
        adapted = get_peft_model(model, config)
    saved = adapted.peft_config["default"]
    saved.base_model_name_or_path, saved.revision = name, revision
    return adapted


def load_model(folder: str, dtype: str, gpu: bool = False) -> Any:
    """Return a causal language model that scores groups of candidates.

    Raises:
        WorkError: transformers does not know its architecture, or cannot run it.
    """
    return _load(folder, dtype, gpu=gpu, sharded=False)


def load_initial(start: StartingWeights, base: str, lora: LoraSection | None, *, gpu: bool, sharded: bool) -> Any:
    """Return the initial policy of a training, as `load_policy` returns the one to train."""
    return load_policy(replace(start, path="", id=""), base, lora, gpu=gpu, sharded=sharded)


def initial_adapter(start: StartingWeights) -> str:
    """Return the local folder of the initial policy's adapter, "" without one."""
    return resolve_adapter(start.adapter, start.adapter_revision) if start.adapter else ""


def _load(folder: str, dtype: str, *, gpu: bool, sharded: bool) -> Any:
    """Return a bare model; one that will be sharded has weights in the first worker alone."""
    import torch
    from transformers import AutoModelForCausalLM

    from rlaif.training.dropout import silence_dropout
    from rlaif.training.kernels.answer_head import add_answer_head
    from rlaif.training.kernels.attention import set_attention
    from rlaif.training.kernels.self_check import choose_attention

    if sharded:
        from rlaif.training.sharding import from_first, is_first

    try:
        config = read_config(folder)
        attention = choose_attention(config, torch.device("cuda" if gpu else "cpu"))
    except WorkError as error:
        raise WorkError(f"{folder}: {error}") from None
    kept = getattr(torch, dtype)
    if sharded and not is_first():
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, dtype=kept)
    else:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=kept)
    silence_dropout(model)
    set_attention(model, attention)
    if not sharded:
        add_answer_head(model)
    else:
        # Whether the last MLP may be narrow takes weights to try.
        narrow = from_first(lambda: add_answer_head(model))
        if not is_first():
            add_answer_head(model, narrow)
    return model


def shard_over_workers(model: Any, dtype: str, gpu: bool) -> Any:
    """Shard a model in place, as `shard_model` takes it; a recipe's dtype decides whether passes are in bfloat16."""
    import torch

    from rlaif.training.sharding import BFLOAT16_PASSES, shard_model

    device = torch.device("cuda", torch.cuda.current_device()) if gpu else torch.device("cpu")
    shard_model(model, device, BFLOAT16_PASSES if bfloat16_passes(dtype, gpu) else None)
    return model


def load_classifier(folder: str, dtype: str, *, sharded: bool = False) -> Any:
    """Return a sequence classifier with one output; a language model gets a new output, drawn by torch's seed.

    One that will be sharded has weights in the first worker alone.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification
    from transformers.utils import logging

    from rlaif.training.dropout import silence_dropout
    from rlaif.training.sharding import is_first

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # It warns of a new output and of an unused head, both of which are intended.
    kept = getattr(torch, dtype)
    try:
        if sharded and not is_first():
            with torch.device("meta"):
                config = AutoConfig.from_pretrained(folder, num_labels=1)
                model = AutoModelForSequenceClassification.from_config(config, dtype=kept)
        else:
            model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=kept, num_labels=1)
    finally:
        logging.set_verbosity(verbosity)
    silence_dropout(model)
    return model


def lora_config(lora: LoraSection, task: Literal["CAUSAL_LM", "SEQ_CLS"]) -> Any:
    """Return peft's configuration of an adapter; for `SEQ_CLS`, peft also trains and saves the classifier's output."""
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.targets, task_type=task
    )


Score = Callable[[Sequence[Group], "PackedRow", "torch.Tensor"], list[list[float]]]
"""Given groups, their row and the log-probabilities of its targets, returns figures of each group."""


def candidate_scores(groups: Sequence[Group], row: "PackedRow", logps_A: "torch.Tensor") -> list[list[float]]:
    """Return each candidate's summed log-probability, in nats, for each group."""
    from rlaif.training.shared_prompt import sums_by_candidate

    flat = iter(sums_by_candidate(row, logps_A).tolist())
    return [[next(flat) for _ in group.candidates] for group in groups]


def score_groups(
    model: Any,
    groups: Sequence[Group],
    max_tokens: int,
    gpu: bool,
    *,
    score: Score = candidate_scores,
    passes: int = 0,
) -> list[list[float]]:
    """Return what `score` makes of each group's log-probabilities, those of its candidates by default.

    See `score_outputs`.
    """

    def of_outputs(groups: Sequence[Group], row: "PackedRow", outputs: "TokenOutputs") -> list[list[float]]:
        return score(groups, row, outputs.logps)

    return score_outputs(model, groups, max_tokens, gpu, score=of_outputs, passes=passes)


def score_outputs(
    model: Any,
    groups: Sequence[Group],
    max_tokens: int,
    gpu: bool,
    *,
    score: "Callable[[Sequence[Group], PackedRow, TokenOutputs], list[T]]",
    passes: int = 0,
    temperature: float = 1.0,
    bfloat16: bool = False,
) -> list[T]:
    """Return what `score` makes of a model's outputs for each group; without gradients.

    Args:
        model: of `load_model` or `load_policy`.
        max_tokens: token budget of a forward pass.
        gpu: whether to run on this process's GPU.
        passes: forward passes to run at least: the workers of a sharded model gather its weights together.
        temperature: of the log-probabilities.
        bfloat16: whether matrices multiply in bfloat16, as in a training that does so.
    """
    import torch

    from rlaif.training.kernels.attention import attention_of
    from rlaif.training.sharding import is_sharded
    from rlaif.training.shared_prompt import pack_row, token_outputs

    device = torch.device("cuda" if gpu else "cpu")
    if not is_sharded(model):
        model.to(device)
    model.eval()
    scores: list[T] = []
    packs = pack_in_order(groups, max_tokens)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        for indices in [*packs, *[[]] * (passes - len(packs))]:
            part = [groups[index] for index in indices]
            row = pack_row(part).to(device)
            scores += score(part, row, token_outputs(model, row, attention_of(model), temperature))
    model.train()
    return scores


def save_model(folder: Path, tokenizer: Any, out: str) -> tuple[dict[str, str], str]:
    """Complete a saved model and copy it to a path or URL; return the sha256 of its files and of the weights."""
    tokenizer.save_pretrained(folder)
    # The trainer leaves both; the first is pickled, and nothing that loads weights needs either.
    for name in ("training_args.bin", "README.md"):
        (folder / name).unlink(missing_ok=True)
    put_folder(str(folder), out)
    files = {path.name: file_sha256(str(path)) for path in sorted(folder.iterdir()) if path.is_file()}
    return files, weights_id(str(folder))
