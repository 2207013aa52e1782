"""What commands that speak have in common: options, and checks before anything is loaded.

In: a parser, or parsed arguments. Out: options of one meaning, and refusals.
"""

from __future__ import annotations

from commands.errors import UserError
from commands.options import Options, add_count, add_engine, add_threads
from formats.files.atomic import check_target
from runtime.engines.choices import add_run_with

DEFAULT_ENGINE = "engine"
MEASURED_TEXT = "The birds sang in the old garden while the rain fell softly."  # if none is given
WARNING_CUT = "warning: the model did not stop by itself; a bound cut it"


def add_engine_options(options: Options) -> None:
    """Which bundle speaks, and what runs it."""
    add_engine(options, DEFAULT_ENGINE)
    add_run_with(options)
    add_threads(options, "the engine (default: the physical cores)")


def add_voice_options(options: Options) -> None:
    """Who speaks."""
    options.add_argument(
        "--voice",
        metavar="NAME|FILE",
        help="a voice of the bundle, a recording, or a .safetensors file with a speaker",
    )
    options.add_argument(
        "--list-voices", action="store_true", help="print the voices of the bundle and end"
    )


def add_look_ahead(options: Options) -> None:
    """How long listeners wait for the first audio."""
    purpose = (
        "let the first audio wait for N later frames instead of all that it depends on, and "
        "estimate its end; for native bundles"
    )
    add_count(options, "--look-ahead", purpose, least=0)


def add_drawing_options(options: Options, bounded: str) -> None:
    """How codes are drawn, and how many at most. bounded: what `--max-steps` applies to."""
    options.add_argument("--greedy", action="store_true", help="always pick the most likely code")
    add_count(options, "--seed", "the same seed gives the same audio", least=0)
    add_count(options, "--max-steps", f"at most N steps for {bounded}")


def check_sound_output(output: str | None, *, play: bool) -> None:
    """Refuse a file that cannot be written, and playing where nothing can play.

    Raises:
        UserError: no such folder, another kind of file than WAV, or no player.
    """
    if output is not None:
        check_target(output)
        if not output.lower().endswith(".wav"):
            raise UserError(f"{output}: only WAV files can be written; end its name in .wav")
    if play:
        from runtime.audio.playback import require_player

        require_player()
