"""Whether a model's config.json names weights that can be trained.

What the config does not say, such as an architecture unknown to transformers, is found by building the model small
(`rlaif.training.policy_check`).
"""

from typing import Any

from rlaif.errors import UserError, WorkError, first_line
from rlaif.models.model_files import quantization, read_settings
from rlaif.models.resolve import config_file


def check_trainable(model: str, revision: str | None = None) -> None:
    """Check that a model's weights can be trained, as far as its config.json says.

    Raises:
        UserError: they are quantized, or belong to an encoder-decoder.
    """
    path = config_file(model, revision)
    if path is None:
        return
    config = read_settings(path)
    if (method := quantization(config)) is not None:
        raise UserError(
            f"{model}: its weights are quantized ({method}) and cannot be trained; "
            "expected a model with float32, bfloat16 or float16 weights"
        )
    if config.get("is_encoder_decoder"):
        raise UserError(
            f"{model}: {config.get('model_type', 'it')} is an encoder-decoder; expected a causal language model"
        )


def read_config(folder: str) -> Any:
    """Return transformers' config of a model.

    Raises:
        WorkError: transformers does not know its architecture, or the model brings code of its own.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (ImportError, KeyError, OSError, TypeError, ValueError) as error:
        if "trust_remote_code" in str(error):
            reason = "the model brings code of its own, which is never run"
        else:
            reason = first_line(error)
        raise WorkError(f"transformers does not know the architecture of its config.json: {reason}") from None
