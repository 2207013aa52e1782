// Random codecs in files of weights, for tests: packed here as docs/native-engine.md says.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "check.h"
#include "kernels/half.h"
#include "kernels/kernels.h"
#include "weights/sizes.h"

namespace slm {

inline std::uint16_t bfloat_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// A safetensors file with matrices and vectors of random values.
class CodecFile {
 public:
  explicit CodecFile(std::uint64_t seed) : random_(seed) {}

  void vector(const std::string& name, int count, int filled, float least, float most) {
    std::vector<float> values(filled, 0.0f);
    for (int i = 0; i < count; ++i) values[i] = random_.real(least, most);
    add(name, "F32", values);
  }

  void matrix(const std::string& name, Format format, int outputs, int channels, int taps = 1,
              bool has_bias = true) {
    const int width = round_up(channels, kPanel), inputs = taps * width;
    const float most = 1.5f / std::sqrt(static_cast<float>(taps * channels));
    std::vector<float> rows(static_cast<std::size_t>(round_up(outputs, kPanel)) * inputs, 0.0f);
    for (int output = 0; output < outputs; ++output) {
      for (int input = 0; input < inputs; ++input) {
        if (input % width >= channels) continue;
        rows[static_cast<std::size_t>(output) * inputs + input] = random_.real(-most, most);
      }
    }
    pack(name, format, rows, round_up(outputs, kPanel), inputs, most);
    if (has_bias) vector(name + ".bias", outputs, round_up(outputs, kPanel), -0.2f, 0.2f);
    std::string& entries = matrices_;
    entries += (entries.empty() ? "\"" : ", \"") + name + "\": {\"format\": \"" +
               format_name(format) + "\", \"outputs\": " + std::to_string(outputs) +
               ", \"channels\": " + std::to_string(channels) +
               ", \"taps\": " + std::to_string(taps) +
               (format == Format::int8 ? ", \"input_scale\": 0.02}" : "}");
  }

  void write(const std::string& path) const {
    std::string facts = "{\"format\": 1, \"matrices\": {" + matrices_ + "}}", quoted;
    for (const char letter : facts)
      quoted += letter == '"' ? std::string("\\\"") : std::string(1, letter);
    std::string header = "{\"__metadata__\": {\"slm\": \"" + quoted + "\"}" + tensors_ + "}";
    header.resize(round_up(static_cast<int>(header.size()) + 8, 4096) - 8, ' ');
    const std::uint64_t length = header.size();
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(&length), sizeof length);
    file << header << data_;
  }

 private:
  void pack(const std::string& name, Format format, const std::vector<float>& rows, int outputs,
            int inputs, float most) {
    const bool is_single = format == Format::fp32 || format == Format::fp16;
    const int group = is_single ? 1 : format == Format::bf16 ? 2 : 4;
    std::vector<float> codes;
    codes.reserve(rows.size());
    for (int panel = 0; panel < outputs; panel += kPanel) {
      for (int input = 0; input < inputs; input += group) {
        for (int output = panel; output < panel + kPanel; ++output) {
          for (int i = 0; i < group; ++i) {
            codes.push_back(rows[static_cast<std::size_t>(output) * inputs + input + i]);
          }
        }
      }
    }
    if (format == Format::fp32) return add(name + ".codes", "F32", codes);
    if (format == Format::fp16) {
      std::vector<std::uint16_t> halves;
      for (const float code : codes) halves.push_back(half_from_float(code));
      return add(name + ".codes", "F16", halves);
    }
    if (format == Format::bf16) {
      std::vector<std::uint16_t> halves;
      for (const float code : codes) halves.push_back(bfloat_of(code));
      return add(name + ".codes", "BF16", halves);
    }
    std::vector<std::uint8_t> bytes;
    for (const float code : codes) {
      bytes.push_back(static_cast<std::uint8_t>(std::lround(code / most * 127) + 128));
    }
    add(name + ".codes", "U8", bytes);
    add(name + ".scales", "F16", std::vector<std::uint16_t>(outputs, 0x1800));  // 2^-9
  }

  template <typename Value>
  void add(const std::string& name, const char* type, const std::vector<Value>& values) {
    const std::size_t begin = data_.size(), bytes = values.size() * sizeof(Value);
    data_.append(reinterpret_cast<const char*>(values.data()), bytes);
    entry(name, type, values.size(), begin);
    const std::size_t filled = (data_.size() + 63) / 64 * 64 - data_.size();
    if (filled == 0) return;
    data_.append(filled, '\0');
    entry("padding." + std::to_string(paddings_++), "U8", filled, begin + bytes);
  }

  void entry(const std::string& name, const char* type, std::size_t count, std::size_t begin) {
    tensors_ += ", \"" + name + "\": {\"dtype\": \"" + type + "\", \"shape\": [" +
                std::to_string(count) + "], \"data_offsets\": [" + std::to_string(begin) + ", " +
                std::to_string(data_.size()) + "]}";
  }

  Random random_;
  std::string matrices_, tensors_, data_;
  int paddings_ = 0;
};

// How the decoder's convolutions are stored; a file may mix formats.
using FormatOf = Format (*)(int index);

class CodecWriter {
 public:
  CodecWriter(const CodecSizes& sizes, FormatOf format, std::uint64_t seed)
      : sizes_(sizes), format_(format), file_(seed) {
    decoder();
    encoder();
  }
  void write(const std::string& path) const { file_.write(path); }

 private:
  void snake(const std::string& name, int channels) {
    file_.vector(name + ".frequency", channels, round_up(channels, kPanel), 0.5f, 2.0f);
    file_.vector(name + ".gain", channels, round_up(channels, kPanel), 0.2f, 1.0f);
    if (!sizes_.is_alias_free) return;
    file_.vector(name + ".up", 12, 12, -0.1f, 0.5f);
    file_.vector(name + ".down", 12, 12, -0.05f, 0.2f);
  }

  void units(const std::string& name, int channels, bool is_decoder) {
    for (int unit = 0; unit < 3; ++unit) {
      const std::string part = name + ".unit." + std::to_string(unit);
      snake(part + ".snake_1", channels);
      convolution(part + ".conv_1", channels, channels, 7, is_decoder);
      snake(part + ".snake_2", channels);
      convolution(part + ".conv_2", channels, channels, 1, is_decoder);
    }
  }

  void convolution(const std::string& name, int outputs, int channels, int taps,
                   bool is_decoder = true) {
    const Format format = is_decoder ? format_(convolutions_++) : Format::fp32;
    file_.matrix(name, format, outputs, channels, taps);
  }

  void decoder() {
    const int latent = sizes_.latent_channels;
    for (std::size_t stream = 0; stream < sizes_.streams.size(); ++stream) {
      const int values = sizes_.streams[stream] * round_up(latent, kPanel);
      file_.vector("codec.vectors." + std::to_string(stream), values, values, -1, 1);
    }
    file_.matrix("codec.timbre", Format::fp32, 2 * latent, latent);
    int channels = sizes_.decoder_channels;
    convolution("codec.decoder.first", channels, latent, 7);
    for (std::size_t stage = 0; stage < sizes_.decoder_ratios.size(); ++stage) {
      const std::string name = "codec.decoder." + std::to_string(stage);
      snake(name + ".snake", channels);
      convolution(name + ".up", sizes_.decoder_ratios[stage] * (channels / 2), channels, 2);
      channels /= 2;
      units(name, channels, true);
    }
    snake("codec.decoder.snake", channels);
    convolution("codec.decoder.last", 1, channels, 7);
  }

  void encoder() {
    const int latent = sizes_.latent_channels;
    const bool is_mel = sizes_.content_encoder == ContentEncoder::mel;
    const int frequencies = sizes_.n_fft / 2 - 3;
    file_.matrix("codec.mel.fourier", Format::fp32, 2 * frequencies, sizes_.window_samples, 1,
                 false);
    file_.matrix("codec.mel.basis", Format::fp32, is_mel ? sizes_.mel_bins : sizes_.prosody_bins,
                 frequencies, 1, false);
    is_mel ? mel_encoder() : waveform_encoder();
    file_.matrix("codec.prosody.input", Format::fp32, latent, sizes_.prosody_bins);
    transformer("codec.prosody");
    transformer("codec.speaker");
    for (std::size_t stream = 0; stream < sizes_.streams.size(); ++stream) {
      const std::string name = "codec.book." + std::to_string(stream);
      file_.matrix(name + ".project", Format::fp32, sizes_.codebook_channels, latent);
      file_.matrix(name + ".directions", Format::fp32, sizes_.streams[stream],
                   sizes_.codebook_channels, 1, false);
    }
  }

  void waveform_encoder() {
    int channels = sizes_.encoder_channels;
    convolution("codec.encoder.first", channels, 1, 7, false);
    for (std::size_t stage = 0; stage < sizes_.encoder_ratios.size(); ++stage) {
      const std::string name = "codec.encoder." + std::to_string(stage);
      units(name, channels, false);
      snake(name + ".snake", channels);
      convolution(name + ".down", 2 * channels, channels, 2 * sizes_.encoder_ratios[stage], false);
      channels *= 2;
    }
    snake("codec.encoder.snake", channels);
    convolution("codec.encoder.last", sizes_.latent_channels, channels, 3, false);
  }

  void mel_encoder() {
    const int channels = sizes_.encoder_channels;
    convolution("codec.encoder.first", channels, sizes_.mel_bins, 5, false);
    for (int unit = 0; unit < 3; ++unit) {
      const std::string name = "codec.encoder." + std::to_string(unit);
      norm(name + ".norm", channels);
      convolution(name + ".expand", 2 * channels, channels, 5, false);
      convolution(name + ".project", channels, 2 * channels, 1, false);
    }
    convolution("codec.encoder.last", sizes_.latent_channels, channels, 1, false);
  }

  void norm(const std::string& name, int channels) {
    file_.vector(name + ".weight", channels, round_up(channels, kPanel), 0.5f, 1.5f);
    file_.vector(name + ".bias", channels, round_up(channels, kPanel), -0.5f, 0.5f);
  }

  void transformer(const std::string& name) {
    const int channels = sizes_.latent_channels, inner = sizes_.transformer_ffn_channels;
    for (int layer = 0; layer < sizes_.transformer_layers; ++layer) {
      const std::string part = name + "." + std::to_string(layer);
      norm(part + ".norm_1", channels);
      norm(part + ".norm_2", channels);
      convolution(part + ".attention_in", 3 * channels, channels, 1, false);
      convolution(part + ".attention_output", channels, channels, 1, false);
      convolution(part + ".ffn_1", inner, channels, 5, false);
      convolution(part + ".ffn_2", channels, inner, 1, false);
    }
    norm(name + ".norm", channels);
  }

  CodecSizes sizes_;
  FormatOf format_;
  CodecFile file_;
  int convolutions_ = 0;
};

}  // namespace slm
