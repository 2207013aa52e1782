"""The codec in a file of packed weights: what is unpacked equals the checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch

from calibration.methods.weight_scales import weight_scales
from commands.errors import UserError
from export.codec.decoder import build_codec_decoder
from export.native.weights import Formats
from export.quantization.convolutions import (
    ConvolutionFormats,
    QuantizedConvolution,
    quantized_convolutions,
)
from export.readers.codec_checkpoint import CodecCheckpoint, open_codec
from formats.calibration.quantized_weight import QuantizedWeight
from formats.calibration.reader import Calibration
from formats.calibration.record import CalibrationRecord, MethodRecord
from formats.checkpoint.codec_config import CodecConfig
from formats.number_formats import INT8
from formats.weights import Array
from tests.export.lm_exports import Recipe
from tests.export.native.packed import Packed, opened, pack
from tests.tiny_codec import other_codec_config, tiny_codec_config
from tests.tiny_weights import make_codec
from train.codec_model.checkpoint import save_codec

KINDS = [
    tiny_codec_config(),
    tiny_codec_config(activation="snake", content_encoder="mel"),
    other_codec_config(),
]
NAMES = ["alias-free waveform", "snake mel", "other streams"]


@pytest.fixture(params=KINDS, ids=NAMES)
def codec(request: pytest.FixtureRequest, tmp_path: Path) -> CodecCheckpoint:
    save_codec(make_codec(request.param), tmp_path / "codec")
    return open_codec(tmp_path / "codec")


def packed_codec(folder: Path, codec: CodecCheckpoint, formats: Formats | None = None) -> Packed:
    return pack(folder, opened(Recipe(3)), codec, formats or Formats())


def check_module(packed: Packed, name: str, codec: CodecCheckpoint, module: str) -> None:
    """A convolution (out, in, taps) or linear layer, with bias."""
    weight = codec.vector(f"{module}.weight")
    if weight.ndim == 3:
        weight = weight.transpose(0, 2, 1) if weight.shape[2] > 1 else weight[:, :, 0]
    np.testing.assert_array_equal(packed.rows(name), weight)
    np.testing.assert_array_equal(packed.bias(name), codec.vector(f"{module}.bias"))


def check_width(packed: Packed, name: str, expected: Array) -> None:
    """A vector, or vectors, filled up with zeros."""
    found, width = packed.floats(name), expected.shape[-1]
    assert found.shape[-1] == -(-width // 16) * 16
    np.testing.assert_allclose(found[..., :width], expected, rtol=2e-6)
    assert not found[..., width:].any()


def check_activation(packed: Packed, name: str, codec: CodecCheckpoint, module: str) -> None:
    alpha, beta = (codec.vector(f"{module}.act.{kind}") for kind in ("alpha", "beta"))
    check_width(packed, f"{name}.frequency", np.exp(alpha))
    check_width(packed, f"{name}.gain", np.exp(-beta))
    if codec.config.activation == "alias_free":
        up = codec.vector(f"{module}.upsample.filter").reshape(-1)
        np.testing.assert_array_equal(packed.floats(f"{name}.up"), 2 * up)
        down = codec.vector(f"{module}.downsample.lowpass.filter").reshape(-1)
        np.testing.assert_array_equal(packed.floats(f"{name}.down"), down)
    else:
        assert f"{name}.up" not in packed.tensors


def check_units(packed: Packed, name: str, codec: CodecCheckpoint, module: str, first: int) -> None:
    for unit in range(3):
        own, block = f"{name}.unit.{unit}", f"{module}.{first + unit}.block"
        check_activation(packed, f"{own}.snake_1", codec, f"{block}.0")
        check_module(packed, f"{own}.conv_1", codec, f"{block}.1")
        check_activation(packed, f"{own}.snake_2", codec, f"{block}.2")
        check_module(packed, f"{own}.conv_2", codec, f"{block}.3")


def test_the_decoder_is_the_checkpoints(codec: CodecCheckpoint, tmp_path: Path) -> None:
    packed, ratios = packed_codec(tmp_path, codec), codec.config.decoder_ratios
    check_module(packed, "codec.decoder.first", codec, "decoder.model.0")
    for stage in range(len(ratios)):
        name, module = f"codec.decoder.{stage}", f"decoder.model.{stage + 1}.block"
        check_activation(packed, f"{name}.snake", codec, f"{module}.0")
        check_units(packed, name, codec, module, 2)
    check_activation(packed, "codec.decoder.snake", codec, f"decoder.model.{len(ratios) + 1}")
    check_module(packed, "codec.decoder.last", codec, f"decoder.model.{len(ratios) + 2}")
    check_module(packed, "codec.timbre", codec, "decoder.timbre_linear")


def test_upsampling_is_a_convolution_of_two_taps(codec: CodecCheckpoint, tmp_path: Path) -> None:
    """Against torch's transposed convolution; output r · channels + c is sample r of channel c."""
    packed = packed_codec(tmp_path, codec)
    for stage, ratio in enumerate(codec.config.decoder_ratios):
        module = f"decoder.model.{stage + 1}.block.1"
        weight = torch.from_numpy(codec.vector(f"{module}.weight"))
        bias = torch.from_numpy(codec.vector(f"{module}.bias"))
        inputs, channels, _ = weight.shape
        x = torch.randn(1, inputs, 5, generator=torch.Generator().manual_seed(0))
        expected = torch.nn.functional.conv_transpose1d(x, weight, bias, stride=ratio)
        rows = packed.rows(f"codec.decoder.{stage}.up")  # (ratio · channels, 2, inputs)
        assert rows.shape == (ratio * channels, 2, inputs)
        before, now = x[0, :, 1:4].numpy(), x[0, :, 2:5].numpy()
        made = rows[:, 0] @ before + rows[:, 1] @ now
        made += packed.bias(f"codec.decoder.{stage}.up")[:, None]
        samples = made.reshape(ratio, channels, 3).transpose(1, 2, 0).reshape(channels, -1)
        wanted = expected[0, :, 2 * ratio : 5 * ratio].numpy()
        np.testing.assert_allclose(samples, wanted, atol=1e-5)


def test_vectors_of_codes(codec: CodecCheckpoint, tmp_path: Path) -> None:
    packed, config = packed_codec(tmp_path, codec), codec.config
    for stream, (book, size) in enumerate(books(config).items()):
        weight, bias = (codec.vector(f"{book}.out_proj.{kind}") for kind in ("weight", "bias"))
        entries = codec.vector(f"{book}._codebook.weight")
        assert len(entries) == size
        vectors = packed.floats(f"codec.vectors.{stream}")[:, : config.latent_channels]
        np.testing.assert_allclose(vectors, entries @ weight.T + bias, atol=1e-5)
        check_module(packed, f"codec.book.{stream}.project", codec, f"{book}.in_proj")
        directions = packed.rows(f"codec.book.{stream}.directions")
        expected = entries / np.linalg.norm(entries, axis=1, keepdims=True)
        np.testing.assert_allclose(directions, expected, atol=1e-6)
    assert f"codec.vectors.{config.streams.count}" not in packed.tensors


def books(config: CodecConfig) -> dict[str, int]:
    """Content first, then prosody, with the codes of each."""
    names = [f"decoder.quantizer.1.layers.{n}" for n in range(config.content_codebooks)]
    names += [f"decoder.quantizer.0.layers.{n}" for n in range(config.prosody_codebooks)]
    return dict(zip(names, config.streams.sizes, strict=True))


def test_the_encoder_is_the_checkpoints(codec: CodecCheckpoint, tmp_path: Path) -> None:
    packed, config = packed_codec(tmp_path, codec), codec.config
    check_module(packed, "codec.encoder.first", codec, "encoder.block.0")
    if config.content_encoder == "mel":
        for unit in range(3):
            name, module = f"codec.encoder.{unit}", f"encoder.block.{unit + 1}"
            for kind in ("weight", "bias"):
                norm = codec.vector(f"{module}.norm.{kind}")
                check_width(packed, f"{name}.norm.{kind}", norm)
            check_module(packed, f"{name}.expand", codec, f"{module}.expand")
            check_module(packed, f"{name}.project", codec, f"{module}.project")
        check_module(packed, "codec.encoder.last", codec, "encoder.block.4")
        return
    stages = len(config.encoder_ratios)
    for stage in range(stages):
        name, module = f"codec.encoder.{stage}", f"encoder.block.{stage + 1}.block"
        check_units(packed, name, codec, module, 0)
        check_activation(packed, f"{name}.snake", codec, f"{module}.3")
        check_module(packed, f"{name}.down", codec, f"{module}.4")
    check_activation(packed, "codec.encoder.snake", codec, f"encoder.block.{stages + 1}")
    check_module(packed, "codec.encoder.last", codec, f"encoder.block.{stages + 2}")


def test_transformers_and_log_mel(codec: CodecCheckpoint, tmp_path: Path) -> None:
    packed, config = packed_codec(tmp_path, codec), codec.config
    check_module(packed, "codec.prosody.input", codec, "decoder.melspec_linear")
    for name, module in (("prosody", "melspec_encoder"), ("speaker", "timbre_encoder")):
        for layer in range(config.transformer_layers):
            own, source = f"codec.{name}.{layer}", f"decoder.{module}.layers.{layer}"
            for norm, kind in ((n, k) for n in (1, 2) for k in ("weight", "bias")):
                expected = codec.vector(f"{source}.ln_{norm}.{kind}")
                check_width(packed, f"{own}.norm_{norm}.{kind}", expected)
            packed_in = codec.vector(f"{source}.self_attn.in_proj_weight")
            np.testing.assert_array_equal(packed.rows(f"{own}.attention_in"), packed_in)
            bias = codec.vector(f"{source}.self_attn.in_proj_bias")
            np.testing.assert_array_equal(packed.bias(f"{own}.attention_in"), bias)
            check_module(packed, f"{own}.attention_output", codec, f"{source}.self_attn.out_proj")
            check_module(packed, f"{own}.ffn_1", codec, f"{source}.ffn.ffn_1")
            check_module(packed, f"{own}.ffn_2", codec, f"{source}.ffn.ffn_2")
        last = codec.vector(f"decoder.{module}.last_ln.weight")
        check_width(packed, f"codec.{name}.norm.weight", last)
    basis, fourier = packed.rows("codec.mel.basis"), packed.rows("codec.mel.fourier")
    assert fourier.shape == (2 * basis.shape[1], config.mel.window_samples)
    window = codec.vector("encoder.mel_transform.hann_window")
    np.testing.assert_allclose(fourier[0], window, atol=1e-6)  # of frequency 0
    assert not fourier[basis.shape[1]].any()
    expected = codec.vector("encoder.mel_transform.mel_basis")[: len(basis), : basis.shape[1]]
    np.testing.assert_array_equal(basis, expected)


def test_facts_of_the_codec(codec: CodecCheckpoint, tmp_path: Path) -> None:
    facts = dict(packed_codec(tmp_path, codec, Formats(codec_precision="bf16")).facts["codec"])
    assert facts.pop("precision") == "bf16"
    assert facts.pop("delay_frames") == codec.config.delay_frames
    assert facts["decoder_ratios"] == [*codec.config.decoder_ratios]
    facts["mel"] = type(codec.config.mel)(**facts["mel"])
    for name in ("decoder_ratios", "encoder_ratios", "stream_sizes"):
        facts[name] = tuple(facts[name])
    assert CodecConfig(**facts) == codec.config


# Fewer bits.


def test_only_the_decoders_convolutions_are_in_bfloat16(
    codec: CodecCheckpoint, tmp_path: Path
) -> None:
    packed = packed_codec(tmp_path, codec, Formats(codec_precision="bf16"))
    for name, entry in packed.facts["matrices"].items():
        is_convolution = name.startswith("codec.decoder.")
        assert entry["format"] == ("bf16" if is_convolution else "fp32")
    exact = codec.vector("decoder.model.0.weight").transpose(0, 2, 1)
    expected = exact.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(packed.rows("codec.decoder.first"), expected)


def calibrated(codec: CodecCheckpoint, *, leave: str = "") -> Calibration:
    """Scales for all of the decoder's convolutions but one."""
    weights: dict[str, QuantizedWeight] = {}
    graph = build_codec_decoder(codec, "portable")
    for name, shape in graph.products.items():
        if name == leave or len(shape) != 3:
            continue
        random = np.random.default_rng(len(weights))
        rows = random.standard_normal((shape[0], shape[1] * shape[2])).astype(np.float32)
        scales = weight_scales(rows / rows.shape[1] ** 0.5, rows.shape[1], INT8, "max")
        scale = float(np.float16(0.01 * (1 + len(weights))))
        weights[name] = QuantizedWeight(INT8, rows.shape[1], scales, activation_scale=scale)
    method = MethodRecord("test", "max", "max", 0, 0)
    record = CalibrationRecord(1, "int8", "", "", method, {}, {})
    return Calibration(Path("scales"), record, weights)


def graph_codes(
    codec: CodecCheckpoint, calibration: Calibration, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Array]:
    """The codes (out, in, taps) that the portable graph gets, by the weight's name."""
    found: dict[str, Array] = {}
    plain = QuantizedConvolution.operands

    def noted(self, graph, x, weight):  # type: ignore[no-untyped-def]
        outputs, inputs, _, taps = weight.shape
        codes = self.quantized.encode(weight.read().reshape(outputs, -1))
        found[weight.name] = codes.reshape(outputs, inputs, taps)
        return plain(self, graph, x, weight)

    monkeypatch.setattr(QuantizedConvolution, "operands", noted)
    formats: ConvolutionFormats = quantized_convolutions(calibration.weights)
    build_codec_decoder(codec, "portable", "int8", formats=formats)
    return found


def test_codes_are_those_of_the_graph(
    codec: CodecCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = "decoder.model.1.block.3.block.1.weight"
    calibration = calibrated(codec, leave=left)
    formats = Formats(codec_precision="int8", codec_calibration=calibration)
    packed = packed_codec(tmp_path, codec, formats)
    assert packed.facts["matrices"]["codec.decoder.0.unit.1.conv_1"]["format"] == "fp32"
    codes = graph_codes(codec, calibration, monkeypatch)
    assert {*codes} == {*calibration.weights}
    for known, expected in codes.items():
        name, quantized = own_matrix(known, codec.config), calibration.weights[known]
        scales, entry = quantized.scales, packed.facts["matrices"][name]
        if known.endswith(".phases"):
            ratio = codec.config.decoder_ratios[int(name.split(".")[2])]
            channels = len(expected) // ratio
            order = [c * ratio + r for r in range(ratio) for c in range(channels)]
            expected, scales = expected[order], scales[order]
        rows = packed.rows(name)
        rows = rows[:, None] if rows.ndim == 2 else rows
        np.testing.assert_array_equal(rows, expected.transpose(0, 2, 1))
        np.testing.assert_array_equal(packed.scales(name), scales)
        assert entry["input_scale"] == quantized.activation_scale
        assert (entry["scale_blocks"], entry["block"]) == (1, packed.layout(name).inputs)


def own_matrix(known: str, config: CodecConfig) -> str:
    """The matrix of the convolution that calibrations call `known`."""
    parts = known.removesuffix(".phases").removesuffix(".weight").split(".")[2:]
    if len(parts) == 1:
        return "codec.decoder.first" if parts[0] == "0" else "codec.decoder.last"
    stage, module = int(parts[0]) - 1, int(parts[2])
    if module == 1:
        return f"codec.decoder.{stage}.up"
    convolution = {"1": 1, "3": 2}[parts[4]]
    return f"codec.decoder.{stage}.unit.{module - 2}.conv_{convolution}"


def test_scales_that_do_not_fit_are_refused(codec: CodecCheckpoint, tmp_path: Path) -> None:
    calibration = calibrated(codec)
    name = "decoder.model.0.weight"
    whole = calibration.weights[name]
    for wrong, message in (
        (replace(whole, activation_scale=None), "one for its input"),
        (replace(whole, scales=whole.scales[:-1]), "calibrate again"),
    ):
        weights = dict(calibration.weights) | {name: wrong}
        scales = replace(calibration, weights=weights)
        formats = Formats(codec_precision="int8", codec_calibration=scales)
        with pytest.raises(UserError, match=message):
            packed_codec(tmp_path, codec, formats)
    strange = replace(calibration, weights={"decoder.model.9.weight": whole})
    with pytest.raises(UserError, match="is no weight of this model"):
        packed_codec(tmp_path, codec, Formats(codec_precision="int8", codec_calibration=strange))
