"""NVIDIA's client for Riva, as its users write it. It runs in an environment of its own.

In: JSON on standard input, `{"grpc", "api_key", "folder", "orders": [...]}`; an order has `do`:
`whole`, `stream`, `voices` or `fields`, the client's arguments, and perhaps `key`, and
`leave_after`, messages after which the listener leaves. Out: audio in files of `folder`, and a line
of JSON for each order.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import riva.client
import riva.client.proto.riva_tts_pb2 as messages


def voices_of(service: riva.client.SpeechSynthesisService) -> list[str]:
    """As the client's own examples name them."""
    answer = service.stub.GetRivaSynthesisConfig(
        messages.RivaSynthesisConfigRequest(), metadata=service.auth.get_auth_metadata()
    )
    return [
        f"{config.parameters['voice_name']}.{voice.split(':')[0]}"
        for config in answer.model_config
        for voice in config.parameters["subvoices"].split(",")
    ]


def fields_of(message: Any) -> Iterator[tuple[str, int, int, bool]]:
    """Full name, number, type and whether it is repeated, of the message and those in it."""
    for field in message.fields:
        yield f"{message.full_name}.{field.name}", field.number, field.type, field.is_repeated
    for inner in message.nested_types:
        if not inner.GetOptions().map_entry:
            yield from fields_of(inner)


def all_fields() -> list[tuple[str, int, int, bool]]:
    """Of the protocol of speech synthesis, and of what it builds on."""
    files = [messages.DESCRIPTOR, *messages.DESCRIPTOR.dependencies]
    return [
        field
        for file in files
        for message in file.message_types_by_name.values()
        for field in fields_of(message)
    ]


def hear(order: dict[str, Any], service: riva.client.SpeechSynthesisService) -> Iterator[bytes]:
    """Audio, message by message."""
    what, leave_after = order.pop("do"), order.pop("leave_after", None)
    if what == "whole":
        yield service.synthesize(**order).audio
        return
    call = service.synthesize_online(**order)
    for number, answer in enumerate(call, 1):
        yield answer.audio
        if number == leave_after:
            call.cancel()
            return


def obey(order: dict[str, Any], address: str, key: str, path: Path) -> dict[str, Any]:
    """Do what one order says."""
    told: dict[str, Any] = {"file": str(path), "rates": [], "errors": []}
    metadata = [["authorization", f"Bearer {order.pop('key', key)}"]]
    service = riva.client.SpeechSynthesisService(
        riva.client.Auth(uri=address, metadata_args=metadata)
    )
    heard = bytearray()
    try:
        match order["do"]:
            case "voices":
                told["voices"] = voices_of(service)
            case "fields":
                told["fields"] = all_fields()
                told["encodings"] = dict(riva.client.AudioEncoding.items())
            case _:
                told["rates"] = [order["sample_rate_hz"]] if "sample_rate_hz" in order else [22_050]
                for part in hear(order, service):
                    heard += part
    except grpc.RpcError as error:
        told["errors"] = [f"{error.code().name}: {error.details()}"]
    path.write_bytes(heard)
    return told


def main() -> None:
    """All orders in turn."""
    asked = json.load(sys.stdin)
    for number, order in enumerate(asked["orders"]):
        path = Path(asked["folder"]) / f"riva-{number}.audio"
        print(json.dumps(obey(order, asked["grpc"], asked["api_key"], path)), flush=True)


if __name__ == "__main__":
    main()
