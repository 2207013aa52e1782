"""The training loop: transformers' Trainer with this project's loss, batches and schedule.

In: a model, examples, settings. Out: training checkpoints in the published layout with the
optimizer's state beside them, logs for TensorBoard, evaluation figures per head. The loop itself is
`Trainer.train`, for one process, several under `torchrun`, or FSDP. It calls the methods of
`LmTrainer`: batches, loss, optimizer, evaluation, saving. Everything random in a step comes from
the seed and the number of the step, so a resumed run continues exactly.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import Trainer

from commands.interruption import Interruption
from train.data.examples import Example, collate
from train.language_model.backbone import set_attention
from train.language_model.checkpoint import (
    WEIGHTS_FILE,
    LanguageModel,
    load_tensors,
    save_checkpoint,
)
from train.language_model.mtp import LossReport, LossWeights, MtpModel
from train.language_model_training.averaging import AVERAGE_FILE, WeightAverage
from train.language_model_training.batches import LengthSortedBatches, SourceRange
from train.language_model_training.corruption import corrupt_history
from train.language_model_training.dataset import TrainingData
from train.language_model_training.guided_attention import AttentionProbe, guided_attention_loss
from train.language_model_training.metrics import EvaluationSums, head_names
from train.language_model_training.optimizer import make_optimizer, rate_factor
from train.language_model_training.previews import SpokenPreview, attention_pictures, find_guided
from train.language_model_training.settings import LmSettings
from train.language_model_training.steps import RunClock, StepCallback
from train.language_model_training.trainer_arguments import (
    check_guided_attention,
    choose_attention,
    training_arguments,
    uses_bfloat16,
)

logger = logging.getLogger(__name__)


class LmTrainer(Trainer):
    """Adds loss, optimizer, batches, weight average and checkpoint layout to the Trainer."""

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        settings: LmSettings,
        data: TrainingData,
        output: Path,
        interruption: Interruption | None = None,
    ) -> None:
        check_guided_attention(settings, model)
        self._settings = settings
        self._speech_tokenizer = tokenizer
        self._data = data
        self._clock = RunClock(settings.max_steps, settings.minutes)
        self._weights = LossWeights(settings.text_weight, settings.speech_weight)
        self._sums: dict[str, list[float]] = defaultdict(list)
        self._micro_step = (0, 0)
        self._bare_model = model
        self.average = (
            WeightAverage(model, settings.average_decay) if settings.average_decay else None
        )
        preview = settings.speech_preview
        sampling, streams = vars(settings.model.sampling), model.geometry.streams
        self._preview = SpokenPreview(preview, sampling, streams) if preview is not None else None
        set_attention(model, choose_attention(settings))
        super().__init__(
            model=model,
            args=training_arguments(settings, output),
            train_dataset=data.examples,
            eval_dataset=data.validation,
            data_collator=partial(collate, padding_id=model.tokens.eos),
            callbacks=[StepCallback(self._clock, self.average, interruption or Interruption())],
        )
        self.loss_is_scaled_for_ga = False
        self.can_return_loss = True

    def get_train_dataloader(self) -> DataLoader:
        """Length-sorted batches of about `positions_per_batch` positions."""
        sampler = LengthSortedBatches(
            [len(example) for example in self._data.examples],
            self._data.sources,
            self._settings.positions_per_batch,
            self._settings.seed,
            self.args.world_size,
        )
        return self.accelerator.prepare(self._loader(self._data.examples, sampler))

    def _loader(self, examples: Sequence[Example], sampler: Any) -> DataLoader:
        return DataLoader(
            examples,  # type: ignore[arg-type]  # any sequence does for a map-style dataset
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Mapping[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> torch.Tensor:
        """Text and speech loss of a training batch, plus guided attention."""
        batch = dict(inputs)
        guide = batch.pop("guide", None)
        guided = self._settings.guided_attention
        probe = AttentionProbe(guided.layers, guided.heads) if guided is not None else None
        if self._settings.history_corruption > 0:
            batch["labels"] = batch["token_ids"]
            batch["token_ids"] = self._corrupted(batch)
        options = {} if probe is None else {"probe": probe}
        report: LossReport = model(**batch, weights=self._weights, **options)
        loss = report.total
        if guided is not None and probe is not None and guide is not None:
            attention = guided_attention_loss(probe.probabilities, guide)
            loss = loss + guided.weight * attention
            self._sums["attention_loss"].append(float(attention.detach()))
        if report.positions:
            self._sums["speech_loss"].append(float(report.heads.mean()))
        if report.text_positions:
            self._sums["text_loss"].append(float(report.text))
        return loss

    def _corrupted(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        model, predicted = self._bare_model, None
        if self._settings.history_noise == "predicted":
            assert isinstance(model, MtpModel)
            read = {
                key: batch[key] for key in ("token_ids", "speech_mask", "speaker") if key in batch
            }
            predicted = model.predict_codes(**read)
        return corrupt_history(
            batch["token_ids"],
            batch["speech_mask"],
            model.tokens,
            self._settings.history_corruption,
            torch.Generator().manual_seed(self._noise_seed()),
            predicted,
        )

    def _noise_seed(self) -> int:
        """Differs between steps, accumulated batches and processes; the same after a resume."""
        step, micro = self._micro_step
        micro = micro + 1 if step == self.state.global_step else 0
        self._micro_step = (self.state.global_step, micro)
        seed = self._settings.seed * 1_000_003 + self.state.global_step
        return (seed * 1009 + micro) * 1009 + self.args.process_index

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the parts of the loss, as means since the last log."""
        if "loss" in logs:
            logs = logs | {name: sum(v) / len(v) for name, v in self._sums.items()}
            self._sums.clear()
        super().log(logs, start_time)

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW, or Muon with AdamW."""
        if self.optimizer is None:
            self.optimizer = make_optimizer(
                model or self.model_wrapped,
                self._settings.optimizer,
                torch.bfloat16 if uses_bfloat16(self._settings) else torch.float32,
            )
        return self.optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LambdaLR:
        """Warm-up, constant, linear fall."""
        if self.lr_scheduler is None:
            clock, settings = self._clock, self._settings.optimizer
            self.lr_scheduler = LambdaLR(
                optimizer or self.create_optimizer(),
                lambda step: rate_factor(settings, step, clock.progress(step)),
            )
        return self.lr_scheduler

    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: Any = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Cross-entropy, perplexity and top-1 of every head on the validation examples."""
        examples = self._data.validation if eval_dataset is None else eval_dataset
        if not examples:
            return {}
        with self.average.applied() if self.average else nullcontext():
            sums = self._evaluation_sums(examples)
            self._write_previews(examples)
        metrics = sums.metrics(metric_key_prefix)
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    @torch.no_grad()
    def _evaluation_sums(self, examples: Sequence[Example]) -> EvaluationSums:
        sampler = LengthSortedBatches(
            [len(example) for example in examples],
            [SourceRange(0, len(examples))],
            self._settings.positions_per_batch,
            seed=0,
        )
        model = self.model_wrapped
        model.eval()
        sums = EvaluationSums(head_names(self._bare_model.geometry))
        for batch in self._loader(examples, sampler):
            batch = self._prepare_inputs(batch)
            batch.pop("guide", None)
            with self.compute_loss_context_manager():
                sums.add(model(**batch, weights=self._weights))
        model.train()
        return sums

    @torch.no_grad()
    def _write_previews(self, examples: Sequence[Example]) -> None:
        """Attention and speech for TensorBoard. All processes run the forward pass together."""
        guided, example = self._settings.guided_attention, find_guided(examples)
        writer, step = self._tensorboard(), self.state.global_step
        self.model_wrapped.eval()
        if guided is not None and example is not None:
            probe = AttentionProbe(guided.layers, guided.heads)
            batch = self._prepare_inputs(collate([example], self._bare_model.tokens.eos))
            batch.pop("guide", None)
            with self.compute_loss_context_manager():
                self.model_wrapped(**batch, weights=self._weights, probe=probe)
            for name, picture in attention_pictures(probe, example) if writer else ():
                writer.add_image(f"attention/{name}", picture, step, dataformats="HW")
        if self._preview is not None and writer:
            self._preview.write(self._bare_model, examples, writer, step)
        self.model_wrapped.train()

    def _tensorboard(self) -> Any:
        """The first process's writer while it trains, else None."""
        writers = (getattr(c, "tb_writer", None) for c in self.callback_handler.callbacks)
        return next((writer for writer in writers if writer is not None), None)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """The published layout in float32; the Trainer puts the optimizer's state beside it."""
        folder = Path(output_dir or str(self.args.output_dir))
        save_checkpoint(self._bare_model, self._speech_tokenizer, folder, tensors=state_dict)
        if self.average is not None:
            self.average.save(folder)

    def save_result(self, folder: Path, dtype: str) -> None:
        """Write the trained model, averaged if there is an average, as `dtype`."""
        tensors = self.accelerator.get_state_dict(self.model_wrapped) if self.args.fsdp else None
        if not self.args.should_save:
            return
        with self.average.applied() if self.average else nullcontext():
            save_checkpoint(self._bare_model, self._speech_tokenizer, folder, dtype, tensors)

    def take_up(self, folder: Path) -> None:
        """Read the weights of a training checkpoint, to write the result without another step."""
        self._load_from_checkpoint(str(folder))

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        folder = Path(resume_from_checkpoint)
        load_tensors(self._bare_model, load_file(folder / WEIGHTS_FILE), str(folder))
        stored = (folder / AVERAGE_FILE).is_file()
        if self.average is None:
            if stored:
                logger.info("%s: its average is not used, because 'average_decay' is now 0", folder)
        elif stored:
            self.average.load(folder)
        else:
            self.average.restart()
            logger.info("%s: has no average; it begins with the weights of this checkpoint", folder)
