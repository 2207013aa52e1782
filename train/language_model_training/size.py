"""How large a language model will be and what its training takes, said before either is made.

In: a model's configuration and the settings of the run. Out: lines for the log. The model is only
made on paper (PyTorch's meta device), so this takes no memory itself.
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
    """Log parameters and memory; warn where the memory is not there."""
    parameters = count_parameters(config, tokens)
    logger.info("model: %.2f M parameters%s", parameters / 1e6, _why(settings.model))
    needed = parameters * (TRAINED_BYTES + (AVERAGED_BYTES if settings.average_decay else 0))
    free = free_memory()
    logger.info(
        "memory: about %.1f GB for training them%s, and what a batch of %d positions takes",
        needed / 1e9,
        "" if free is None else f" ({free / 1e9:.1f} GB are free)",
        settings.positions_per_batch,
    )
    if free is not None and needed > free and not settings.fsdp:
        logger.warning("warning: more than is free; without smaller sizes it may be killed")


def _why(model: ModelSettings) -> str:
    """That the size was chosen by nobody, where that is so."""
    defaults = ModelSettings(heads=model.heads)
    if model.base_model is not None or any(
        getattr(model, name) != getattr(defaults, name) for name in _SIZES
    ):
        return ""
    return (
        ", the size of Qwen2.5-0.5B, as the settings give no other: "
        "'hidden_size', 'layers', … in 'model' make it smaller (samples/quickstart/lm.yaml)"
    )


def free_memory() -> int | None:
    """Bytes that are free where the model will be trained; None where the system does not say."""
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
