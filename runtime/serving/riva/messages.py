"""Messages of Riva's speech synthesis and of gRPC's errors, as protobuf's classes.

In: names and numbers of fields, which every client has compiled in. Out: classes that read and
write them. They stand in a pool of their own, so that a process may have others of the same names.
Fields that are not here are skipped by readers, as protobuf does with all that it does not know.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, message_factory
from google.protobuf.message import DecodeError

from runtime.serving.errors import RequestFailed

SERVICE = "nvidia.riva.tts.RivaSpeechSynthesis"
LINEAR_PCM, OGGOPUS = 1, 4
ENCODINGS = {"ENCODING_UNSPECIFIED": 0, "LINEAR_PCM": 1, "FLAC": 2, "MULAW": 3, "OGGOPUS": 4}
ENCODINGS |= {"ALAW": 20}

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "int32": _Field.TYPE_INT32,
    "bool": _Field.TYPE_BOOL,
}
_Fields = dict[str, tuple[int, str]]  # name -> number, and type; "[]" stands before repeated ones
_ENCODING = "enum nvidia.riva.AudioEncoding"
_MAP = {"key": (1, "string"), "value": (2, "string")}
_CONFIG = "RivaSynthesisConfigResponse.Config"

_RIVA: dict[str, _Fields] = {"RequestId": {"value": (1, "string")}}
_TTS: dict[str, _Fields] = {
    "ZeroShotData": {"audio_prompt": (1, "bytes")},
    "SynthesizeSpeechRequest": {
        "text": (1, "string"),
        "language_code": (2, "string"),
        "encoding": (3, _ENCODING),
        "sample_rate_hz": (4, "int32"),
        "voice_name": (5, "string"),
        "zero_shot_data": (6, "nvidia.riva.tts.ZeroShotData"),
        "custom_dictionary": (7, "string"),
        "custom_configuration": (8, "map nvidia.riva.tts.SynthesizeSpeechRequest.CustomEntry"),
        "enable_word_time_offsets": (9, "bool"),
        "id": (100, "nvidia.riva.RequestId"),
    },
    "SynthesizeSpeechRequest.CustomEntry": _MAP,
    "SynthesizeSpeechResponse": {"audio": (1, "bytes"), "id": (100, "nvidia.riva.RequestId")},
    "RivaSynthesisConfigRequest": {"model_name": (1, "string")},
    "RivaSynthesisConfigResponse": {"model_config": (1, f"[]nvidia.riva.tts.{_CONFIG}")},
    _CONFIG: {
        "model_name": (1, "string"),
        "parameters": (2, f"map nvidia.riva.tts.{_CONFIG}.ParametersEntry"),
    },
    f"{_CONFIG}.ParametersEntry": _MAP,
}
_RPC: dict[str, _Fields] = {
    "Status": {
        "code": (1, "int32"),
        "message": (2, "string"),
        "details": (3, "[]google.protobuf.Any"),
    },
    "RetryInfo": {"retry_delay": (1, "google.protobuf.Duration")},
}


def _add_messages(file: Any, messages: dict[str, _Fields]) -> None:
    made: dict[str, Any] = {}
    for name, fields in messages.items():
        outer, _, own = name.rpartition(".")
        message = made[outer].nested_type.add() if outer else file.message_type.add()
        made[name] = message
        message.name = own
        message.options.map_entry = fields is _MAP
        for field, (number, kind) in fields.items():
            _add_field(message, field, number, kind)


def _add_field(message: Any, name: str, number: int, kind: str) -> None:
    what, _, of = kind.rpartition(" ")
    is_repeated = what == "map" or of.startswith("[]")
    label = _Field.LABEL_REPEATED if is_repeated else _Field.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, label=label)
    if of in _SCALARS:
        field.type = _SCALARS[of]
        return
    field.type = _Field.TYPE_ENUM if what == "enum" else _Field.TYPE_MESSAGE
    field.type_name = f".{of.removeprefix('[]')}"


def _make_pool() -> Any:
    pool = descriptor_pool.DescriptorPool()
    for known in (any_pb2, duration_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    needs = [any_pb2.DESCRIPTOR.name, duration_pb2.DESCRIPTOR.name]
    for package, messages in (
        ("nvidia.riva", _RIVA),
        ("nvidia.riva.tts", _TTS),
        ("google.rpc", _RPC),
    ):
        file = descriptor_pb2.FileDescriptorProto(
            name=f"slm/{package}.proto", package=package, syntax="proto3", dependency=needs
        )
        if messages is _RIVA:
            encoding = file.enum_type.add(name="AudioEncoding")
            for name, number in ENCODINGS.items():
                encoding.value.add(name=name, number=number)
        _add_messages(file, messages)
        pool.AddSerializedFile(file.SerializeToString())
        needs = [*needs, file.name]
    return pool


_POOL = _make_pool()


def _class(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


SynthesizeSpeechRequest = _class("nvidia.riva.tts.SynthesizeSpeechRequest")
SynthesizeSpeechResponse = _class("nvidia.riva.tts.SynthesizeSpeechResponse")
SynthesisConfigRequest = _class("nvidia.riva.tts.RivaSynthesisConfigRequest")
SynthesisConfigResponse = _class("nvidia.riva.tts.RivaSynthesisConfigResponse")
RpcStatus = _class("google.rpc.Status")
RetryInfo = _class("google.rpc.RetryInfo")


def read_message(kind: Any, content: bytes) -> Any:
    """kind: one of the classes above. Raises `RequestFailed` for bytes that are no such message."""
    try:
        return kind.FromString(content)
    except DecodeError:
        message = f"what came is no {kind.DESCRIPTOR.name}"
        raise RequestFailed(400, message, code="invalid_message") from None
