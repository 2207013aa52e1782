"""What a manifest must say, and what the graphs must have of it: each misfit is one line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from commands.errors import UserError
from runtime import TTS
from runtime.bundle import names as bundle
from runtime.bundle.loading import describe_file, load_bundle
from runtime.bundle.manifest import read_manifest
from runtime.engines import graph as session_graph
from tests.runtime.tiny_bundle import rewrite_manifest


@pytest.fixture
def folder(plain_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain_folder, tmp_path / "engine"))


def change(folder: Path, field: str, **changes: Any) -> None:
    part = getattr(read_manifest(folder), field)
    rewrite_manifest(folder, **{field: msgspec.structs.replace(part, **changes)})


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        TTS.load(folder, threads=1)
    assert "\n" not in str(error.value)
    return str(error.value).replace(str(folder), "engine")


@pytest.mark.parametrize(
    ("field", "changes", "message"),
    [
        (
            "language_model",
            {"kv_heads": 3},
            "engine/manifest.json: backbone input past_key_0 is float32 [rows, 2, capacity, "
            "5], should be float32 [rows, 3, capacity, 5]; export again",
        ),
        (
            "language_model",
            {"heads": 4},
            "engine/manifest.json: language_model.heads is 4: 1 for ntp, a multiple of 3 for mtp; "
            "export again",
        ),
        (
            "codec",
            {"speaker_channels": 8},
            "engine/manifest.json: codec_decoder input speaker is float32 [rows, 7], should be "
            "float32 [rows, 8]; export again",
        ),
        (
            "codec",
            {"hop_samples": 5},
            "engine/codec_decoder.onnx: codec_decoder has hop_samples 4, the manifest says 5; "
            "export again",
        ),
        (
            "codec",
            {"delay_frames": 3},
            "engine/codec_decoder.onnx: codec_decoder has delay_frames 2, the manifest says 3; "
            "export again",
        ),
        (
            "language_model",
            {"max_positions": 401},
            "engine/backbone.onnx: backbone has max_positions 400, the manifest says 401; "
            "export again",
        ),
    ],
)
def test_numbers_that_do_not_fit(
    folder: Path, field: str, changes: dict[str, Any], message: str
) -> None:
    change(folder, field, **changes)
    assert refusal(folder) == message


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("language_model", {"max_positions": 2**20 + 1}),
        ("codec", {"sample_rate_hz": 10**9}),
        ("codec", {"delay_frames": 10**9}),
        ("length", {"extra_frames": 10**12}),
        ("length", {"frames_per_token": 1e12}),
        ("sampling", {"temperature": 0.0}),
        ("sampling", {"top_k": -1}),
    ],
)
def test_numbers_that_nothing_could_hold(folder: Path, field: str, changes: dict[str, Any]) -> None:
    change(folder, field, **changes)
    [(name, _)] = changes.items()
    assert "not a valid manifest (Expected `" in refusal(folder)
    assert f"$.{field}.{name}" in refusal(folder)


def test_states_that_would_fill_any_memory(folder: Path) -> None:
    change(folder, "language_model", max_positions=2**20, head_dim=2**17)
    graphs = dict(read_manifest(folder).graphs)
    backbone, large = graphs["backbone"], ("rows", 2, "capacity", 2**17)
    sides = {
        side: tuple(
            msgspec.structs.replace(t, shape=large) if "_0" in t.name else t
            for t in getattr(backbone, side)
        )
        for side in ("inputs", "outputs")
    }
    graphs["backbone"] = msgspec.structs.replace(backbone, **sides)
    rewrite_manifest(folder, graphs=graphs)
    assert refusal(folder) == (
        "engine/manifest.json: the states of backbone would take 32768 GiB; export again"
    )


def test_files_without_facts_are_taken_at_the_manifests_word(folder: Path) -> None:
    """Exports of earlier versions have none."""
    files = dict(read_manifest(folder).files)
    for path in folder.glob("*.onnx"):
        model = onnx.load(path)
        del model.metadata_props[:]
        onnx.save(model, path)
        files[path.name] = describe_file(path)
    rewrite_manifest(folder, files=files)
    assert len(TTS.load(folder, threads=1).synthesize("Go.").audio)


def test_no_memory_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tts, zeros = TTS.load(folder, threads=1), np.zeros

    def refuse_caches(shape: Any, dtype: Any = float) -> Any:
        if isinstance(shape, list) and len(shape) == 4:
            raise MemoryError
        return zeros(shape, dtype)

    monkeypatch.setattr(session_graph.np, "zeros", refuse_caches)
    with pytest.raises(UserError, match=r"^out of memory: \d+ MiB more were needed for past_key_0"):
        tts.synthesize("Go.")


def test_templates_that_lead_nowhere(tmp_path: Path) -> None:
    from tests.runtime.tiny_bundle import Scenario, write_bundle

    aware = "say {text} like <|placeholder|> <sosp>"
    scenario = Scenario(speaker_aware=True, template=aware, writes=" Yes. aloud <sosp>")
    folder = write_bundle(tmp_path / "engine", scenario)
    for template, complaint in {
        "say nothing": "prompt.template 'say nothing' lacks {text}",
        "say {text} <|placeholder|>": "does not end in the token chat.speech_start_id",
        "say {text} <sosp>": "prompt.template does not hold the token prompt.placeholder_id once",
    }.items():
        change(folder, "prompt", template=template)
        assert complaint in refusal(folder)
    change(folder, "prompt", template=aware)
    change(folder, "chat", template="ask {question}")
    assert "chat.template does not hold the token prompt.placeholder_id once" in refusal(folder)


def test_an_archive_is_no_table(folder: Path) -> None:
    with (folder / "embeddings.npy").open("wb") as file:
        np.savez(file, table=np.zeros((3, 6), np.float32))
    record = describe_file(folder / "embeddings.npy")
    rewrite_manifest(folder, files=dict(read_manifest(folder).files) | {"embeddings.npy": record})
    assert "embeddings.npy: holds several arrays" in refusal(folder)


def test_every_graph_of_the_contract_is_known() -> None:
    from runtime.bundle.interfaces import INTERFACES

    assert set(INTERFACES) == {
        bundle.BACKBONE,
        bundle.MTP_HEAD,
        bundle.NTP_HEAD,
        bundle.TEXT_HEAD,
        bundle.SPEAKER_PROJECTION,
        bundle.CODEC_DECODER,
        bundle.CODEC_ENCODER,
    }


def test_lazily_opened_graphs_are_checked_when_they_are_opened(folder: Path) -> None:
    graphs = dict(load_bundle(folder).manifest.graphs)
    encoder = msgspec.structs.replace(graphs["codec_encoder"], file="codec_decoder.onnx")
    rewrite_manifest(folder, graphs=graphs | {"codec_encoder": encoder})
    tts = TTS.load(folder, threads=1)
    with pytest.raises(UserError, match=r"codec_decoder\.onnx: codec_encoder has the tensors"):
        tts.encode(np.linspace(0.1, 0.6, 4_001, dtype=np.float32), 16_000)
