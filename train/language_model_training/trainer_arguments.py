"""The Trainer's arguments, and what depends on the machine: attention and precision.

In: settings. Out: the name of the attention function and transformers' `TrainingArguments`. The log
says every choice that depends on the machine.
"""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from transformers import TrainingArguments
from transformers.utils import is_flash_attn_2_available

from commands.errors import UserError
from train.device import choose_bfloat16
from train.language_model.checkpoint import LanguageModel
from train.language_model_training.guided_attention import ATTENTION_NAME
from train.language_model_training.settings import LmSettings

logger = logging.getLogger(__name__)


def choose_attention(settings: LmSettings) -> str:
    """FlashAttention 2 if there are CUDA and the package, otherwise PyTorch's attention."""
    if settings.guided_attention is not None:
        name, why = ATTENTION_NAME, "guided attention needs probabilities of one layer"
    elif not torch.cuda.is_available():
        name, why = "sdpa", "there is no CUDA device"
    elif not is_flash_attn_2_available():
        name, why = "sdpa", "the package flash-attn is not installed"
    else:
        name, why = "flash_attention_2", "there are CUDA and flash-attn"
    logger.info("attention: %s (%s)", name, why)
    return name


def uses_bfloat16(settings: LmSettings) -> bool:
    """Whether this run computes matrix products in bfloat16."""
    return choose_bfloat16(settings.precision, "cuda" if torch.cuda.is_available() else "cpu")


def training_arguments(settings: LmSettings, output: Path) -> TrainingArguments:
    """The arguments of transformers' Trainer."""
    bfloat16 = uses_bfloat16(settings)
    logger.info("precision: %s", "bfloat16 mixed" if bfloat16 else "float32")
    if settings.fsdp and not torch.cuda.is_available():
        raise UserError("'fsdp' needs CUDA devices; leave it out to train on the CPU")
    return TrainingArguments(
        output_dir=str(output),
        max_steps=settings.max_steps,
        gradient_accumulation_steps=settings.gradient_accumulation,
        max_grad_norm=settings.optimizer.max_grad_norm,
        bf16=bfloat16,
        fsdp=settings.fsdp,  # type: ignore[arg-type]  # documented as a bool
        fsdp_config={"transformer_layer_cls_to_wrap": ["Qwen2DecoderLayer"]},
        ddp_find_unused_parameters=False,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=settings.log_every,
        eval_strategy="steps",
        eval_steps=settings.evaluate_every,
        save_steps=settings.save_every,
        save_total_limit=settings.checkpoints_kept,
        dataloader_num_workers=settings.loader_workers,
        dataloader_pin_memory=torch.cuda.is_available(),
        accelerator_config={"even_batches": False},
        average_tokens_across_devices=False,
        remove_unused_columns=False,
        report_to=["tensorboard"],
        seed=settings.seed,
    )


def check_guided_attention(settings: LmSettings, model: LanguageModel) -> None:
    """Raises `UserError` if the model has no such layer or not as many heads."""
    guided, geometry = settings.guided_attention, model.geometry
    if guided is None:
        return
    known = range(geometry.num_hidden_layers)
    if not guided.layers or not set(guided.layers) <= set(known):
        raise UserError(
            f"guided_attention: 'layers' must list layers from 0 to {known[-1]}, "
            f"not {list(guided.layers)}"
        )
    if not 0 < guided.heads <= geometry.num_attention_heads:
        raise UserError(
            f"guided_attention: 'heads' must be from 1 to {geometry.num_attention_heads}, "
            f"not {guided.heads}"
        )
