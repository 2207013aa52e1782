"""Train a codec: `python -m train.codec --config FILE`.

In: a YAML file (`CodecTrainingConfig`) naming a folder of recordings. Out: a codec folder
(`codec.json`, `codec.safetensors`), written when the tokenizer phase ends and again while the
decoder improves. Beside it are the states that a resumed run needs (`tokenizer.pt`, `decoder.pt`)
and TensorBoard's logs if it is installed. The same command continues an interrupted run, which
ends with the same weights as an uninterrupted one.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser
from commands.errors import UserError
from commands.interruption import Interruption, format_command
from commands.next_step import print_next, quote
from commands.run import run_cli
from train.codec_training.config import CodecTrainingConfig, PhaseConfig, read_located_config

if TYPE_CHECKING:
    import torch

    from train.codec_model.facodec import FACodec
    from train.codec_training.audio_pool import AudioPool
    from train.codec_training.phase import Phase

REPORT_STEPS = 20
PHASES = ("tokenizer", "decoder")


class Budget:
    """Wall-clock time that a run may take; None is no limit."""

    def __init__(self, minutes: float | None) -> None:
        self.end = math.inf if minutes is None else time.monotonic() + 60 * minutes

    @property
    def spent(self) -> bool:
        return time.monotonic() >= self.end


def train_codec(
    config: CodecTrainingConfig,
    phases: Sequence[str],
    budget: Budget,
    interruption: Interruption | None = None,
) -> bool:
    """Run the phases, each from its saved step; returns whether all reached their last step.

    Raises:
        UserError: unusable input; nothing is written then.
    """
    import torch

    from train.codec_training.audio_pool import load_pool
    from train.data.recordings import find_recordings
    from train.device import check_device

    check_device(config.device, "'device'")
    check_crops(config)
    if config.threads:
        torch.set_num_threads(config.threads)
    recordings = find_recordings(Path(config.recordings))
    output = Path(config.output)
    if "tokenizer" not in phases:
        load_tokenizer(output, config)  # fail before hours of audio are read
    pool = load_pool(
        recordings,
        config.hours,
        config.codec,
        max(phase_config(config, name).crop_frames for name in phases),
        config.seed,
    )
    output.mkdir(parents=True, exist_ok=True)
    for name in phases:
        phase = make_phase(name, config, pool, output)
        if not run_phase(phase, name, output, config, budget, interruption or Interruption()):
            return False
    return True


def phase_config(config: CodecTrainingConfig, name: str) -> PhaseConfig:
    return config.tokenizer if name == "tokenizer" else config.decoder


def check_crops(config: CodecTrainingConfig) -> None:
    """Crops must be long enough to be analysed. Raises `UserError` if one is not."""
    from train.codec_training.losses import LEAST_SAMPLES

    hop = config.codec.hop_samples
    for name, samples in (
        ("tokenizer", config.codec.mel.least_samples),
        ("decoder", LEAST_SAMPLES),
    ):
        if phase_config(config, name).crop_frames * hop <= samples:
            raise UserError(f"{name}: 'crop_frames' must be more than {samples // hop}")


def make_phase(name: str, config: CodecTrainingConfig, pool: AudioPool, output: Path) -> Phase:
    """The tokenizer phase begins with random weights, the decoder phase with the tokenizer."""
    import torch

    from train.codec_model.facodec import FACodec
    from train.codec_training.decoder_phase import DecoderPhase
    from train.codec_training.phase import Computing
    from train.codec_training.tokenizer_phase import TokenizerPhase

    torch.manual_seed(config.seed)
    computing = Computing(config.precision, config.compile)
    if name == "tokenizer":
        codec = FACodec(config.codec).to(config.device)
        return TokenizerPhase(codec, pool, config.tokenizer, config.seed, computing)
    codec = load_tokenizer(output, config).to(config.device)
    return DecoderPhase(codec, pool, config.decoder, config.seed, computing)


def load_tokenizer(output: Path, config: CodecTrainingConfig) -> FACodec:
    """The codec that the decoder phase begins with. Raises `UserError`."""
    from train.codec_model.checkpoint import load_codec

    codec = load_codec(output)
    if codec.config != config.codec:
        raise UserError(f"{output}: holds a codec of other sizes than 'codec' asks for")
    return codec


def run_phase(
    phase: Phase,
    name: str,
    output: Path,
    config: CodecTrainingConfig,
    budget: Budget,
    interruption: Interruption,
) -> bool:
    """Train from the saved step to the last one, or until the budget is spent or an interruption.

    Saves every `save_minutes` and at the end; returns whether the last step was reached.
    """
    from tqdm import tqdm

    schedule = phase_config(config, name)
    step = resume_phase(phase, name, schedule, output)
    if step >= schedule.steps:
        return True
    report = open_scalars(output / "logs" / name)
    saved_at = time.monotonic()
    bar = tqdm(total=schedule.steps, initial=step, desc=name, unit="step", smoothing=0.01)
    with interruption, bar:
        while step < schedule.steps and not (budget.spent or interruption.requested):
            set_learning_rate(phase.optimizer, schedule, step)
            losses = phase.train_step(step)
            step += 1
            bar.update()
            if step % REPORT_STEPS == 0:
                bar.set_postfix({key: f"{value:.3f}" for key, value in losses.items()})
                report(step, losses)
            if time.monotonic() - saved_at > 60 * config.save_minutes:
                save_phase(phase, name, step, schedule, output)
                saved_at = time.monotonic()
        save_phase(phase, name, step, schedule, output)
    print(f"{name}: {step} of {schedule.steps} steps, saved in {output}")
    return step == schedule.steps


def resume_phase(phase: Phase, name: str, schedule: PhaseConfig, output: Path) -> int:
    """Load the saved state, if there is one; returns the next step."""
    from train.codec_model.checkpoint import load_training_state

    path = output / f"{name}.pt"
    step = 0
    if path.is_file():
        state = load_training_state(path)
        try:
            phase.load_state(state["phase"])
        except (RuntimeError, ValueError, KeyError):
            raise UserError(
                f"{path}: is of other sizes or of an earlier version; delete it to begin this "
                "phase again"
            ) from None
        step = int(state["step"])
    if name == "tokenizer" and step < schedule.steps and (output / "decoder.pt").exists():
        raise UserError(
            f"{output}: decoder.pt was trained on a finished tokenizer, which more steps would "
            "change; train into another folder, or delete decoder.pt"
        )
    return step


def save_phase(phase: Phase, name: str, step: int, schedule: PhaseConfig, output: Path) -> None:
    """Save for resuming, and the codec unless it is a tokenizer that is not finished."""
    from train.codec_model.checkpoint import save_codec, save_training_state

    if name == "decoder" or step == schedule.steps:
        save_codec(phase.trained_codec(), output)
    save_training_state({"step": step, "phase": phase.state()}, output / f"{name}.pt")


def set_learning_rate(optimizer: torch.optim.Optimizer, schedule: PhaseConfig, step: int) -> None:
    """Linear warm-up times a cosine from the first learning rate to the final one."""
    warmup = min(1.0, (step + 1) / schedule.warmup_steps)
    fall = 0.5 * (1 + math.cos(math.pi * step / schedule.steps))
    final = schedule.final_learning_rate
    rate = warmup * (final + (schedule.learning_rate - final) * fall)
    for group in optimizer.param_groups:
        group["lr"] = rate


def open_scalars(folder: Path) -> Callable[[int, dict[str, float]], None]:
    """A function that writes losses for TensorBoard, if that is installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print("no loss curves are written: tensorboard is not installed", file=sys.stderr)
        return lambda step, losses: None
    writer = SummaryWriter(folder)

    def write(step: int, losses: dict[str, float]) -> None:
        for key, value in losses.items():
            writer.add_scalar(key, value, step)

    return write


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser(
        prog="python -m train.codec", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--config", type=Path, required=True, help="YAML training configuration")
    parser.add_argument("--phase", choices=PHASES, help="run only this phase (default: both)")
    parser.add_argument("--minutes", type=float, help="stop and save after so many minutes")
    return parser.parse_args(argv)


def train_from_arguments(argv: Sequence[str] | None) -> None:
    arguments = parse_arguments(argv)
    config = read_located_config(arguments.config)
    phases = [arguments.phase] if arguments.phase else list(PHASES)
    command = format_command("train.codec", argv)
    interruption = Interruption()
    finished = train_codec(config, phases, Budget(arguments.minutes), interruption)
    if interruption.requested:
        interruption.leave(f"go on with: {command}")
    if not finished:
        print_next(command)
    elif has_decoder(Path(config.output)):
        folder, heads = quote(config.output), 2 * config.codec.streams.count
        print_next(
            f"python -m train.prepare RECORDINGS --codec {folder} --heads {heads} --output tokens"
        )
    else:
        print_next(f"python -m train.codec --config {quote(arguments.config)} --phase decoder")


def has_decoder(output: Path) -> bool:
    """Whether the codec there can speak: its second phase has begun, or it had a decoder."""
    return (output / "decoder.pt").is_file()


def main(argv: Sequence[str] | None = None) -> int:
    return run_cli(train_from_arguments, argv)


if __name__ == "__main__":
    sys.exit(main())
