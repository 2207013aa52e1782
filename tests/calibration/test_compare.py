"""Engines are compared with their like alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from calibration.compare import _parse_engines, main
from calibration.comparison import _check_origin
from commands.errors import UserError
from runtime.bundle.loading import Bundle, describe_file
from runtime.bundle.manifest import PlansSpec, encode_manifest, read_manifest
from runtime.bundle.names import MANIFEST_FILE
from tests.tiny_codec import TINY_STREAMS
from tests.tiny_models import make_lm_checkpoint


@pytest.fixture
def model(tiny_engine: Path) -> Path:
    return tiny_engine.parent / "model"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    (tmp_path / "texts.txt").write_text("They know it.\n", encoding="utf-8")
    return tmp_path / "texts.txt"


def run(reference: Path, engine: Path, model: Path, texts: Path) -> int:
    arguments = ["--reference", reference, "--engine", f"other={engine}", "--model", model]
    return main([str(a) for a in (*arguments, "--texts", texts, "--runs", 0)])


def rewrite(folder: Path, **changes: object) -> None:
    manifest = msgspec.structs.replace(read_manifest(folder), **changes)
    files = {file: describe_file(folder / file) for file in manifest.files}
    manifest = msgspec.structs.replace(manifest, files=files)
    (folder / MANIFEST_FILE).write_bytes(encode_manifest(manifest))


def copy(engine: Path, output: Path) -> Path:
    return Path(shutil.copytree(engine, output))


def test_the_same_model(
    tiny_engine: Path, model: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tiny_engine, tiny_engine, model, texts) == 0
    assert "| other | fp32 | ort | 0.0000 | 100.0% |" in capsys.readouterr().out


def test_another_checkpoint(
    tiny_engine: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_lm_checkpoint(tmp_path / "other", heads=3, seed=5, streams=TINY_STREAMS)
    assert run(tiny_engine, tiny_engine, other, texts) == 2
    assert f"engine: fp32 was not made from {other}; --model takes" in capsys.readouterr().err


def test_an_engine_that_does_not_say_what_it_was_made_from(
    tiny_engine: Path,
    model: Path,
    texts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two models may have the same size, prompt, tokenizer and embeddings."""
    old = copy(tiny_engine, tmp_path / "old")
    built_with = dict(read_manifest(old).built_with)
    del built_with["model_sha256"]
    rewrite(old, built_with=built_with)
    assert run(tiny_engine, old, model, texts) == 2
    assert f"{old}: other does not say which checkpoint" in capsys.readouterr().err
    assert run(old, tiny_engine, model, texts) == 2
    assert f"{old}: fp32 does not say which checkpoint" in capsys.readouterr().err


def test_what_engines_of_one_model_have_in_common(
    tiny_engine: Path,
    model: Path,
    texts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    old, halved, other = (copy(tiny_engine, tmp_path / name) for name in ("old", "halved", "other"))
    assert run(tiny_engine, old, model, texts) == 0
    table = np.load(halved / "embeddings.npy")
    np.save(halved / "embeddings.npy", table.astype(np.float16))
    rewrite(halved)
    assert run(tiny_engine, halved, model, texts) == 0
    np.save(other / "embeddings.npy", table[::-1])
    rewrite(other)
    assert run(tiny_engine, other, model, texts) == 2
    message = capsys.readouterr().err
    assert f"{other}: other is of another model than fp32" in message
    assert "another embedding table" in message
    prompt = read_manifest(old).prompt
    rewrite(old, prompt=msgspec.structs.replace(prompt, template=f"Say {prompt.template}"))
    assert run(tiny_engine, old, model, texts) == 2
    assert "another prompt" in capsys.readouterr().err


def test_a_reference_of_fewer_bits(
    tiny_engine: Path,
    model: Path,
    texts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    halved = copy(tiny_engine, tmp_path / "halved")
    graphs = read_manifest(halved).graphs
    backbone = msgspec.structs.replace(graphs["backbone"], precision="fp16")
    rewrite(halved, graphs=graphs | {"backbone": backbone})
    assert run(halved, tiny_engine, model, texts) == 2
    assert "is in fp16; --reference takes the bundle in fp32" in capsys.readouterr().err


def test_plans_are_not_compared(
    tiny_engine: Path,
    model: Path,
    texts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = copy(tiny_engine, tmp_path / "plans")
    manifest = read_manifest(folder)
    plans = PlansSpec("1.7", ("8.9",), None, "fp16", "0")
    engine = msgspec.structs.replace(manifest.engine, kind="tensorrt-rtx", plans=plans)
    bundle = Bundle(folder, msgspec.structs.replace(manifest, engine=engine))
    with pytest.raises(UserError, match=r"holds plans for tensorrt-rtx.* bundle of graphs"):
        _check_origin("other", bundle, model, "")
    engine = msgspec.structs.replace(manifest.engine, kind="native", dialect="native")
    bundle = Bundle(folder, msgspec.structs.replace(manifest, engine=engine))
    with pytest.raises(UserError, match=r"holds packed weights.* again with --target onnxruntime"):
        _check_origin("other", bundle, model, "")


@pytest.mark.parametrize(
    ("engines", "said"),
    [
        (["int8"], "write NAME=DIR"),
        (["fp32=x"], "write NAME=DIR"),
        (["a=x", "a=y"], "two engines called a"),
    ],
)
def test_engines_have_names(engines: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        _parse_engines(engines)


def test_heads_are_checked_against_the_model(tiny_engine: Path, model: Path) -> None:
    from argparse import ArgumentParser

    from calibration.arguments import add_data, open_data
    from export.arguments import add_source

    parser = ArgumentParser()
    add_data(parser)
    add_source(parser.add_argument_group())
    given = ["--tokens", "t.jsonl", "--output", "scales", "--model", str(model)]
    given += ["--codec", str(tiny_engine.parent / "codec")]
    sources, _ = open_data(parser.parse_args([*given, "--heads", "3"]))
    assert sources.checkpoint.config.heads == 3
    assert open_data(parser.parse_args(given))[0].checkpoint.config.heads == 3
    with pytest.raises(UserError, match="has 3 heads, not 6; leave --heads out or say --heads 3"):
        open_data(parser.parse_args([*given, "--heads", "6"]))
