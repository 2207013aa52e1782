"""How large a language model will be, and how much memory its training takes.

In: a model's configuration and the settings of the run. Out: lines for the log, before the model is
made. Parameters are counted on PyTorch's meta device, which takes no memory.
"""

from __future__ import annotations

import logging
import os

import torch

from formats.checkpoint.language_model_config import LanguageModelConfig
from formats.checkpoint.tokenizer import SpeechTokens
from train.language_model.checkpoint import make_model
from train.language_model_training.settings import LmSettings, ModelSettings

logger = logging.getLogger(__name__)
TRAINED_BYTES = 16  # of a parameter in float32: weight, gradient, two moments of the optimizer
AVERAGED_BYTES = 4  # and its moving average
_SIZES = ("hidden_size", "intermediate_size", "layers", "attention_heads", "key_value_heads")


def count_parameters(config: LanguageModelConfig, tokens: SpeechTokens) -> int:
    """Parameters of the model that `config` describes."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in make_model(config, tokens).parameters())


def report_size(settings: LmSettings, config: LanguageModelConfig, tokens: SpeechTokens) -> None:
    """Log parameters and memory; warn if there is not enough memory."""
    parameters = count_parameters(config, tokens)
    logger.info("model: %.2f M parameters%s", parameters / 1e6, _why(settings.model))
    needed = parameters * (TRAINED_BYTES + (AVERAGED_BYTES if settings.average_decay else 0))
    free = free_memory()
    logger.info(
        "memory: about %s for training them%s, and what a batch of %d positions takes",
        _format_bytes(needed),
        "" if free is None else f" ({_format_bytes(free)} are free)",
        settings.positions_per_batch,
    )
    if free is not None and needed > free and not settings.fsdp:
        logger.warning(
            "warning: this is more than is free, so the system may end it; choose smaller sizes"
        )


def _format_bytes(count: float) -> str:
    """Gigabytes, or megabytes if it is less than one."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _why(model: ModelSettings) -> str:
    """A note for settings that give no sizes: the model then has the default ones."""
    defaults = ModelSettings(heads=model.heads)
    if model.base_model is not None or any(
        getattr(model, name) != getattr(defaults, name) for name in _SIZES
    ):
        return ""
    return (
        ", the size of Qwen2.5-0.5B, because the settings give no other; "
        "'hidden_size', 'layers', … in 'model' make it smaller (samples/quickstart/lm.yaml)"
    )


def free_memory() -> int | None:
    """Free bytes on the GPU or, without one, of the machine; None if the system does not say."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
