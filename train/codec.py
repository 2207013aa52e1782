"""Train a codec: `python -m train.codec --config FILE`.

In: a YAML file (`CodecTrainingConfig`) that names a folder of recordings. Out: a codec folder
(`codec.json`, `codec.safetensors`), written when the tokenizer phase ends and again while the
decoder improves. Beside it lie the states of both phases (`tokenizer.pt`, `decoder.pt`) and, if
TensorBoard is installed, its logs. The same command goes on where it stopped, and ends with the
same weights as an uninterrupted run; `--resume` continues a phase with other settings.

The loop over the steps is in train/codec_training/phase_run.py; tokenizer_phase.py and
decoder_phase.py beside it have the step of each phase.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.arguments import CommandParser, command_parser
from commands.errors import UserError
from commands.interruption import Interruption
from commands.next_step import print_next, quote
from commands.options import GOES_ON, add_former, add_max_minutes, add_resume
from commands.run import run_command
from formats.files.unfinished_work import Inputs
from train.codec_training.config import (
    CodecTrainingConfig,
    PhaseConfig,
    describe_phase,
    read_located_config,
    read_training_config,
)

if TYPE_CHECKING:
    from train.codec_model.facodec import FACodec
    from train.codec_training.audio_pool import AudioPool
    from train.codec_training.phase import Phase

PHASES = ("tokenizer", "decoder")


def run(arguments: argparse.Namespace) -> None:
    """Train the phases, each from where it stopped. Raises `UserError`."""
    interruption = Interruption(arguments.max_minutes)
    config = read_located_config(arguments.config)
    phases = [arguments.phase] if arguments.phase else list(PHASES)
    inputs = {name: describe_phase(read_training_config(arguments.config), name) for name in phases}
    finished = train_codec(config, phases, interruption, inputs, resume=arguments.resume)
    if not finished:
        interruption.leave(f"go on with: {arguments.command_line}")
    if has_decoder(Path(config.output)):
        recordings, codec = quote(config.recordings), quote(config.output)
        heads = config.codec.streams.count
        print_next(
            f"python -m train.prepare {recordings} --codec {codec} --heads {heads} --output tokens"
        )
    else:
        print_next(f"python -m train.codec --config {quote(arguments.config)} --phase decoder")


def has_decoder(output: Path) -> bool:
    """Whether the codec there can speak: its decoder phase has begun."""
    return (output / "decoder.pt").is_file()


def train_codec(
    config: CodecTrainingConfig,
    phases: Sequence[str],
    interruption: Interruption | None = None,
    inputs: Mapping[str, Inputs] | None = None,
    *,
    resume: bool = False,
) -> bool:
    """Run the phases, each from its saved step; returns whether all reached their last step.

    The state of each phase notes its `inputs`, the settings that decide its result. Only with
    `resume` does a phase continue with other settings.

    Raises:
        UserError: unusable input. Nothing is written in that case.
    """
    import torch

    from train.codec_training.audio_pool import load_pool
    from train.codec_training.phase_run import PhaseStore, run_phase
    from train.data.recordings import find_recordings
    from train.device import check_device

    check_device(config.device, "'device'")
    check_crops(config)
    if config.threads:
        torch.set_num_threads(config.threads)
    recordings = find_recordings(Path(config.recordings))
    output = Path(config.output)
    if "tokenizer" not in phases:
        load_tokenizer(output, config)  # reports a missing codec before hours of audio are read
    pool = load_pool(
        recordings,
        config.hours,
        config.codec,
        max(phase_config(config, name).crop_frames for name in phases),
        config.seed,
    )
    output.mkdir(parents=True, exist_ok=True)
    interruption = interruption or Interruption()
    for name in phases:
        described = describe_phase(config, name) if inputs is None else inputs[name]
        phase = make_phase(name, config, pool, output)
        store = PhaseStore(output, name, phase_config(config, name), described, resume=resume)
        if not run_phase(phase, store, config.save_minutes, interruption):
            return False
    return True


def phase_config(config: CodecTrainingConfig, name: str) -> PhaseConfig:
    """The settings of the phase `name`."""
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
        raise UserError(
            f"{output}: holds a codec of other sizes than 'codec' asks for; use the settings "
            "that it was trained with"
        )
    return codec


def make_parser() -> CommandParser:
    parser = command_parser("train.codec", f"Train a codec. Stopped, {GOES_ON}.")
    add = parser.add_argument
    add("--config", type=Path, required=True, metavar="FILE", help="YAML training configuration")
    add("--phase", choices=PHASES, help="run only this phase (default: both)")
    add_resume(parser)
    add_max_minutes(parser)
    add_former(parser, "--minutes", "--max-minutes")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    return run_command(make_parser, run, argv)


if __name__ == "__main__":
    sys.exit(main())
