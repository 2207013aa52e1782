"""One phase of a codec's training: its loop, its learning rate, its losses and its saved state.

In: a phase (tokenizer_phase.py or decoder_phase.py) and its schedule. Out: `NAME.pt` with
everything that a resumed run needs, the codec, and logs for TensorBoard. This module does not know
what the phase learns.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from commands.errors import UserError
from commands.interruption import Interruption
from commands.progress import progress, tell
from formats.files.unfinished_work import Inputs, compare_inputs
from train.codec_model.checkpoint import load_training_state, save_codec, save_training_state
from train.codec_training.config import PhaseConfig
from train.codec_training.phase import Phase

REPORT_STEPS = 20


class PhaseStore:
    """Where a phase keeps its state, and whether a state there may be continued."""

    def __init__(
        self, output: Path, name: str, schedule: PhaseConfig, inputs: Inputs, *, resume: bool
    ) -> None:
        self.output, self.name, self.schedule = output, name, schedule
        self._inputs, self._resume = inputs, resume
        self._path = output / f"{name}.pt"

    def load(self, phase: Phase) -> int:
        """Continue from the saved state, if there is one; returns the next step.

        Raises:
            UserError: the state does not fit, or was begun with other settings.
        """
        step = 0
        if self._path.is_file():
            state = load_training_state(self._path)
            self._load_state(phase, state)
            step = int(state["step"])
        self._refuse_change_below_decoder(step)
        return step

    def _load_state(self, phase: Phase, state: Mapping[str, Any]) -> None:
        noted = state.get("inputs")
        differing = [] if noted is None else compare_inputs(json.loads(noted), self._inputs)
        if differing and not self._resume:
            raise UserError(
                f"{self._path}: was begun with other settings for {', '.join(differing)}; add "
                "--resume to continue it with the present ones, or train into another folder"
            )
        try:
            phase.load_state(state["phase"])
        except (RuntimeError, ValueError, KeyError):
            raise UserError(
                f"{self._path}: has other sizes or is of an earlier version; delete it to begin "
                "this phase again"
            ) from None

    def _refuse_change_below_decoder(self, step: int) -> None:
        goes_on = self.name == "tokenizer" and step < self.schedule.steps
        if goes_on and (self.output / "decoder.pt").exists():
            raise UserError(
                f"{self.output}: decoder.pt was trained on a finished tokenizer, which more steps "
                "would change; train into another folder, or delete decoder.pt"
            )

    def save(self, phase: Phase, step: int) -> None:
        """Save the state and the codec. An unfinished tokenizer's codec is not saved."""
        if self.name == "decoder" or step == self.schedule.steps:
            save_codec(phase.trained_codec(), self.output)
        state = {"step": step, "phase": phase.state(), "inputs": json.dumps(self._inputs)}
        save_training_state(state, self._path)


def run_phase(
    phase: Phase, store: PhaseStore, save_minutes: float, interruption: Interruption
) -> bool:
    """Train from the saved step to the last one, or until an interruption.

    Saves every `save_minutes` and at the end; returns whether the last step was reached.
    """
    schedule, step = store.schedule, store.load(phase)
    if step >= schedule.steps:
        return True
    report = open_scalars(store.output / "logs" / store.name)
    saved_at = time.monotonic()
    stage = progress(f"train the {store.name}", schedule.steps, done=step, to_stderr=True)
    with interruption, stage as under_way:
        while step < schedule.steps and not interruption.requested:
            set_learning_rate(phase.optimizer, schedule, step)
            losses = phase.train_step(step)
            step += 1
            under_way.advance()
            if step % REPORT_STEPS == 0:
                under_way.note(", ".join(f"{key} {value:.3f}" for key, value in losses.items()))
                report(step, losses)
            if time.monotonic() - saved_at > 60 * save_minutes:
                store.save(phase, step)
                saved_at = time.monotonic()
        store.save(phase, step)
    print(f"{store.name}: {step} of {schedule.steps} steps, saved in {store.output}")
    return step == schedule.steps


def set_learning_rate(optimizer: torch.optim.Optimizer, schedule: PhaseConfig, step: int) -> None:
    """Linear warm-up times a cosine from the first learning rate to the final one."""
    warmup = min(1.0, (step + 1) / schedule.warmup_steps)
    fall = 0.5 * (1 + math.cos(math.pi * step / schedule.steps))
    final = schedule.final_learning_rate
    rate = warmup * (final + (schedule.learning_rate - final) * fall)
    for group in optimizer.param_groups:
        group["lr"] = rate


def open_scalars(folder: Path) -> Callable[[int, dict[str, float]], None]:
    """A function that writes losses for TensorBoard if TensorBoard is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        tell("no loss curves are written: tensorboard is not installed")
        return lambda step, losses: None
    writer = SummaryWriter(folder)

    def write(step: int, losses: dict[str, float]) -> None:
        for key, value in losses.items():
            writer.add_scalar(key, value, step)

    return write
