"""The training loop: transformers' Trainer with this project's loss, batches and schedule.

In: a model, examples, settings. Out: training checkpoints in the published layout with the
optimizer's state beside them, logs for TensorBoard, evaluation figures per head. One process,
several under `torchrun`, or FSDP: the Trainer and accelerate see to that. Everything random in
a step comes from the seed and the number of the step, so that a resumed run continues exactly.
"""

from __future__ import annotations

import time
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
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from train.averaging import AVERAGE_FILE, WeightAverage
from train.backbone import set_attention
from train.batches import LengthSortedBatches, SourceRange
from train.checkpoint import WEIGHTS_FILE, LanguageModel, load_tensors, save_checkpoint
from train.corruption import corrupt_history
from train.dataset import Example, collate
from train.guided_attention import AttentionProbe, guided_attention_loss
from train.lm_arguments import (
    check_guided_attention,
    choose_attention,
    training_arguments,
    uses_bfloat16,
)
from train.lm_settings import LmSettings
from train.metrics import EvaluationSums
from train.mtp import LossReport, LossWeights, MtpModel
from train.optimizer import make_optimizer, rate_factor


class RunClock:
    """How much of the run is over: by steps and, with a limit, by minutes."""

    def __init__(self, max_steps: int, max_minutes: float | None) -> None:
        self._max_steps = max_steps
        self._seconds = None if max_minutes is None else 60.0 * max_minutes
        self._begin = time.monotonic()

    def progress(self, step: int) -> float:
        """From 0 to 1, whichever limit is nearer."""
        by_time = (
            (time.monotonic() - self._begin) / self._seconds if self._seconds is not None else 0.0
        )
        return min(1.0, max(step / self._max_steps, by_time))


class LmTrainer(Trainer):
    """Adds loss, optimizer, batches, weight average and checkpoint layout to the Trainer."""

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        settings: LmSettings,
        output: Path,
        train: tuple[Sequence[Example], Sequence[SourceRange]],
        validation: Sequence[Example],
        max_minutes: float | None = None,
    ) -> None:
        check_guided_attention(settings, model)
        self._settings = settings
        self._speech_tokenizer = tokenizer
        self._train, self._sources = train
        self._validation = validation
        self._clock = RunClock(settings.max_steps, max_minutes)
        self._weights = LossWeights(settings.text_weight, settings.speech_weight)
        self._sums: dict[str, list[float]] = defaultdict(list)
        self._micro_step = (0, 0)
        self._bare_model = model
        self.average = (
            WeightAverage(model, settings.average_decay) if settings.average_decay else None
        )
        set_attention(model, choose_attention(settings))
        super().__init__(
            model=model,
            args=training_arguments(settings, output),
            train_dataset=self._train,
            eval_dataset=validation,
            data_collator=partial(collate, padding_id=model.tokens.eos),
            callbacks=[_StepCallback(self._clock, self.average)],
        )
        self.loss_is_scaled_for_ga = False
        self.can_return_loss = True

    def get_train_dataloader(self) -> DataLoader:
        """Length-sorted batches of about `positions_per_batch` positions."""
        sampler = LengthSortedBatches(
            [len(example) for example in self._train],
            self._sources,
            self._settings.positions_per_batch,
            self._settings.seed,
            self.args.world_size,
        )
        return self.accelerator.prepare(self._loader(self._train, sampler))

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
        examples = self._validation if eval_dataset is None else eval_dataset
        if not examples:
            return {}
        with self.average.applied() if self.average else nullcontext():
            sums = self._evaluation_sums(examples)
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
        sums = EvaluationSums(self._bare_model.geometry.heads)
        for batch in self._loader(examples, sampler):
            batch = self._prepare_inputs(batch)
            batch.pop("guide", None)
            with self.compute_loss_context_manager():
                sums.add(model(**batch, weights=self._weights))
        model.train()
        return sums

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

    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        if self.is_fsdp_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        folder = Path(resume_from_checkpoint)
        load_tensors(self._bare_model, load_file(folder / WEIGHTS_FILE), str(folder))
        if self.average is not None and (folder / AVERAGE_FILE).is_file():
            self.average.load(folder)


class _StepCallback(TrainerCallback):
    """Updates the weight average after each step; stops and saves when time is up. A resumed run
    logs, evaluates and saves as often as its settings say, not as its checkpoint does."""

    def __init__(self, clock: RunClock, average: WeightAverage | None) -> None:
        self._clock = clock
        self._average = average

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        state.compute_steps(args, state.max_steps)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> TrainerControl:
        if self._average is not None:
            self._average.update(state.global_step)
        if self._clock.progress(state.global_step) >= 1.0:
            control.should_training_stop = True
            control.should_evaluate = True
            control.should_save = True
        return control
