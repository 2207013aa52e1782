"""Names of voices and the embeddings behind them. A name is looked up here, never opened as a path.

In: a bundle's voices, and a folder of uploaded ones. Out: speaker embeddings. An uploaded voice is
two files named by an id that the server chose: the embedding, and a JSON file that says whose it
is and that they agreed. The JSON file is written last and removed first: without it there is no
voice. Several processes, also of several machines, may share the folder: each looks into it when a
voice of it is asked for.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from commands.errors import UserError
from formats.files.atomic import write_atomically
from formats.speaker_files import SUFFIX, read_speaker, write_speaker
from runtime.serving.errors import RequestFailed
from runtime.serving.voices.recordings import decode_recording
from runtime.speech.synthesis import TTS

Speaker = NDArray[np.float32]
OPENAI_NAMES = (  # in the order in which they get the bundle's voices
    *("alloy", "nova", "echo", "shimmer", "onyx", "coral", "fable"),
    *("sage", "ash", "ballad", "verse", "marin", "cedar"),
)
MAX_NAME = 64
MAX_CONSENT = 2_000
log = logging.getLogger("slm.serve")


class UploadedVoice(msgspec.Struct, frozen=True):
    """What is kept beside an embedding. consent: what the speaker agreed to, in the words of
    whoever uploaded the recording."""

    id: str
    name: str
    consent: str
    created_at: int  # Unix time


class VoiceRegistry:
    """Used by several threads."""

    def __init__(self, tts: TTS, folder: Path | None, max_uploaded: int = 1000) -> None:
        """folder: of uploaded voices; it is made if it is missing. None: there are none.

        Raises:
            UserError: a damaged file in the folder.
        """
        self._tts = tts
        self._folder = folder
        self._max_uploaded = max_uploaded
        self._lock = threading.Lock()
        self._one_upload = threading.Lock()
        self._uploaded: dict[str, UploadedVoice] = {}
        self._speakers: dict[str, Speaker] = {name: tts.speaker(name) for name in tts.voices}
        if folder is not None:
            _make(folder)
            for path in sorted(folder.glob("voice_*.json")):
                self._read(path)

    @property
    def names(self) -> tuple[str, ...]:
        """All but aliases; the default first."""
        return (*self._tts.voices, *(voice.name for voice in self.uploaded))

    @property
    def uploaded(self) -> list[UploadedVoice]:
        with self._lock:
            self._look_again()
            return [*self._uploaded.values()]

    def speaker(self, name: str | None) -> Speaker:
        """The embedding of a voice by its name, id or alias; None: the default.

        Raises:
            RequestFailed: there is no such voice.
        """
        with self._lock:
            if (key := self._key(name)) is None or key in self._uploaded:
                self._look_again()
                key = self._key(name)
            if key is not None:
                return self._speakers[key]
        shown = "the bundle has no default voice" if name is None else f"no voice {name[:64]!r}"
        message = f"{shown}; there are: {', '.join(self.names) or 'none'}"
        raise RequestFailed(400, message, param="voice", code="invalid_voice")

    def add(self, name: str, recording: bytes, consent: str) -> tuple[UploadedVoice, list[str]]:
        """Keep a voice. Returns it, and what is wrong with the recording.

        Raises:
            RequestFailed: an unfit or used name, no consent, or no room.
            UserError: an unfit recording.
        """
        folder = self._require_folder()
        self._check_upload(name, consent)
        with self._one_upload:  # they cost memory
            speech, notes = decode_recording(recording, self._tts.sample_rate)
            speaker = self._tts.speaker_of_speech(speech)
            identity = f"voice_{secrets.token_hex(8)}"
            voice = UploadedVoice(identity, name, consent.strip(), int(time.time()))
            self._check_upload(name, consent)
            _keep(folder, voice, speaker)
            with self._lock:
                self._speakers[identity], self._uploaded[identity] = speaker, voice
        return voice, notes

    def remove(self, identity: str) -> None:
        """Forget an uploaded voice, given by its id or name.

        Raises:
            RequestFailed: there is none.
        """
        with self._lock:
            self._look_again()
            key = self._key(identity)
            if key not in self._uploaded:
                message = f"no uploaded voice {identity[:64]!r}"
                raise RequestFailed(404, message, param="voice", code="voice_not_found")
            del self._uploaded[key], self._speakers[key]
            folder = self._require_folder()
            (folder / f"{key}.json").unlink(missing_ok=True)
            (folder / f"{key}{SUFFIX}").unlink(missing_ok=True)

    def _key(self, name: str | None) -> str | None:
        if name is None:
            return self._tts.bundle.manifest.default_voice
        if name in self._tts.voices or name in self._uploaded:
            return name
        for voice in self._uploaded.values():
            if voice.name == name:
                return voice.id
        own = self._tts.voices
        if name.lower() in OPENAI_NAMES and own:
            return own[OPENAI_NAMES.index(name.lower()) % len(own)]
        return None

    def _look_again(self) -> None:
        """What other processes have added to the folder or removed. A damaged file is no voice."""
        if self._folder is None:
            return
        there = {path.stem: path for path in self._folder.glob("voice_*.json")}
        for gone in self._uploaded.keys() - there.keys():
            del self._uploaded[gone], self._speakers[gone]
        for new in there.keys() - self._uploaded.keys():
            try:
                self._read(there[new])
            except (UserError, OSError) as error:
                if there[new].exists():  # otherwise it is just being removed
                    log.error("%s", error)

    def _read(self, path: Path) -> None:
        try:
            voice = msgspec.json.decode(path.read_bytes(), type=UploadedVoice)
        except msgspec.MsgspecError as error:
            raise UserError(f"{path}: is damaged ({error}); remove it") from None
        if voice.id != path.stem:
            raise UserError(f"{path}: is of another voice, {voice.id!r}; remove it")
        channels = self._tts.bundle.manifest.codec.speaker_channels
        self._speakers[voice.id] = read_speaker(path.with_suffix(SUFFIX), channels)
        self._uploaded[voice.id] = voice

    def _require_folder(self) -> Path:
        if self._folder is None:
            message = "voices cannot be uploaded here; start the server with --voices-dir DIR"
            raise RequestFailed(403, message, code="uploads_are_off")
        return self._folder

    def _check_upload(self, name: str, consent: str) -> None:
        if not 0 < len(name) <= MAX_NAME or not name.isprintable() or set(name) & set("/\\"):
            why = f"must have 1 to {MAX_NAME} printable characters, none of them a slash"
            raise RequestFailed(400, f"name {why}", param="name", code="invalid_value")
        if not 0 < len(consent.strip()) <= MAX_CONSENT:
            why = "say in consent that the speaker agreed, and how that is known"
            raise RequestFailed(400, why, param="consent", code="missing_consent")
        with self._lock:
            self._look_again()
            known = {*self._tts.voices, *self._uploaded, *OPENAI_NAMES}
            if name in known or any(voice.name == name for voice in self._uploaded.values()):
                raise RequestFailed(
                    400, f"there is a voice {name!r}", param="name", code="voice_exists"
                )
            if len(self._uploaded) >= self._max_uploaded:
                raise RequestFailed(
                    403, f"there are {self._max_uploaded} voices; delete one", code="no_room"
                )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"no voices can be kept in {folder} ({error.strerror}); choose another folder"
        raise UserError(message) from None


def _keep(folder: Path, voice: UploadedVoice, speaker: Speaker) -> None:
    """Raises `RequestFailed` if the disk does not take it; nothing is left then."""
    embedding = folder / f"{voice.id}{SUFFIX}"
    try:
        write_speaker(embedding, speaker)
        write_atomically(folder / f"{voice.id}.json", msgspec.json.encode(voice))
    except OSError as error:
        embedding.unlink(missing_ok=True)
        why = f"the voice could not be kept: {error.strerror or error}"
        raise RequestFailed(507, why, code="not_kept") from error
