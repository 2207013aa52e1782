"""What happens between the steps of a run: its clock, its weight average, and its end.

In: the number of the step, and an interruption. Out: whether the Trainer now evaluates, saves and
stops. This module does not know the model.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from commands.interruption import Interruption
from train.language_model_training.averaging import WeightAverage


class RunClock:
    """How much of the run is over, by steps and, if `minutes` are set, by time.

    Time is counted from the start of the command, also when a run is continued.
    """

    def __init__(self, max_steps: int, minutes: float | None) -> None:
        self._max_steps = max_steps
        self._seconds = None if minutes is None else 60.0 * minutes
        self._begin = time.monotonic()

    def progress(self, step: int) -> float:
        """From 0 to 1, by the limit that will be reached first."""
        by_time = (
            (time.monotonic() - self._begin) / self._seconds if self._seconds is not None else 0.0
        )
        return min(1.0, max(step / self._max_steps, by_time))


class StepCallback(TrainerCallback):
    """Updates the weight average after each step; stops and saves at the end and on interruption.

    A continued run logs, evaluates and saves as often as its settings say. (The Trainer would
    follow the checkpoint.)
    """

    def __init__(
        self, clock: RunClock, average: WeightAverage | None, interruption: Interruption
    ) -> None:
        self._clock = clock
        self._average = average
        self._interruption = interruption

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
        is_over = self._clock.progress(state.global_step) >= 1.0
        if agree(is_over or self._interruption.requested, args.device):
            if agree(self._interruption.noted, args.device):
                self._interruption.request()
            control.should_training_stop = True
            control.should_evaluate = not self._interruption.noted
            control.should_save = True
            control.should_log = True
        return control


def agree(wanted: bool, device: torch.device) -> bool:
    """Whether any process wants it. Processes that stopped after different steps would wait for
    each other forever."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return wanted
    votes = torch.tensor([float(wanted)], device=device)
    torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX)
    return bool(votes.item() > 0)
