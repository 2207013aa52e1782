// Writes weights.safetensors for tests: random matrices in every format, and vectors.
//
// In: names and sizes. Out: a file as docs/native-engine.md describes it. The values of
// floating-point matrices are kept, so that a test can compute with them.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "check.h"
#include "kernels/half.h"
#include "kernels/kernels.h"

namespace slm {

class WeightsWriter {
 public:
  explicit WeightsWriter(std::uint64_t seed) : random_(seed) {}

  struct Form {
    Format format = Format::fp32;
    int block = 0;          // of codes
    bool is_whole = false;  // one scale for each output
    bool is_smoothed = false;
  };

  void add_matrix(const std::string& name, int outputs, int channels, const Form& form,
                  bool has_bias) {
    const bool is_coded = form.format == Format::int8 || form.format == Format::int4;
    const int inputs = round_up(round_up(channels, kPanel), is_coded ? form.block : kPanel);
    const int rows = count_panels(outputs) * kPanel;
    const float size = 1.5f / std::max(1.0f, std::sqrt(static_cast<float>(channels)));
    std::string facts = "\"" + name + "\":{\"format\":\"" + kNames[static_cast<int>(form.format)] +
                        "\",\"outputs\":" + std::to_string(outputs) +
                        ",\"channels\":" + std::to_string(channels);
    if (is_coded) {
      const int scale_blocks = form.is_whole ? 1 : inputs / form.block;
      facts += ",\"block\":" + std::to_string(form.block) +
               ",\"scale_blocks\":" + std::to_string(scale_blocks);
      add_codes(name, form, static_cast<std::size_t>(rows) * inputs);
      add_scales(name, static_cast<std::size_t>(rows) * scale_blocks, form.format, size);
      if (form.is_smoothed) add_smoothing(name, channels, inputs);
    } else {
      add_floats_of(name, rows, channels, inputs, form.format, size);
    }
    if (has_bias) add_vector(name + ".bias", random_.reals(rows, -0.1f, 0.1f));
    matrices_ += (matrices_.empty() ? "" : ",") + facts + "}";
  }

  void add_vector(const std::string& name, const std::vector<float>& values) {
    vectors[name] = values;
    add(name, "F32", values.data(), values.size(), 4);
  }
  void add_bytes(const std::string& name, const std::vector<std::uint8_t>& values) {
    add(name, "U8", values.data(), values.size(), 1);
  }
  void add_halves(const std::string& name, const std::vector<std::uint16_t>& values) {
    add(name, "F16", values.data(), values.size(), 2);
  }

  // sections: of the "slm" metadata, besides "format" and "matrices".
  void write(const std::string& path, const std::string& sections) const {
    std::string facts = "{\"format\":1," + sections + ",\"matrices\":{" + matrices_ + "}}";
    std::string quoted;
    for (const char letter : facts) quoted += letter == '"' ? "\\\"" : std::string(1, letter);
    std::string header = "{\"__metadata__\":{\"slm\":\"" + quoted + "\"}" + tensors_ + "}";
    while ((8 + header.size()) % 4096 != 0) header += ' ';
    std::ofstream file(path, std::ios::binary);
    for (int index = 0; index < 8; ++index) {
      file.put(static_cast<char>(header.size() >> 8 * index & 0xff));
    }
    file << header << data_;
  }

  // What a product with the matrix computes with: [outputs][channels].
  std::map<std::string, std::vector<float>> plain;
  std::map<std::string, std::vector<float>> vectors;
  Random& random() { return random_; }

 private:
  static constexpr const char* kNames[] = {"fp32", "bf16", "fp16", "int8", "int4"};

  void add(const std::string& name, const char* type, const void* values, std::size_t count,
           std::size_t width) {
    const std::size_t begin = data_.size();
    data_.append(static_cast<const char*>(values), count * width);
    declare(name, type, count, begin, data_.size());
    const std::size_t padded = (data_.size() + 63) / 64 * 64;
    if (padded == data_.size()) return;
    const std::size_t end = data_.size();
    data_.resize(padded, '\0');
    declare("padding." + std::to_string(paddings_++), "U8", padded - end, end, padded);
  }

  void declare(const std::string& name, const std::string& type, std::size_t count,
               std::size_t begin, std::size_t end) {
    tensors_ += ",\"" + name + "\":{\"dtype\":\"" + type + "\",\"shape\":[" +
                std::to_string(count) + "],\"data_offsets\":[" + std::to_string(begin) + "," +
                std::to_string(end) + "]}";
  }

  void add_codes(const std::string& name, const Form& form, std::size_t values) {
    std::vector<std::uint8_t> codes(form.format == Format::int4 ? values / 2 : values);
    for (std::uint8_t& code : codes) code = static_cast<std::uint8_t>(random_.bits());
    add_bytes(name + ".codes", codes);
  }

  void add_scales(const std::string& name, std::size_t count, Format format, float size) {
    const float step = size / (format == Format::int4 ? 8.0f : 128.0f);
    std::vector<std::uint16_t> scales(count);
    for (std::uint16_t& scale : scales) scale = to_half(step * random_.real(0.5f, 1.0f));
    add_halves(name + ".scales", scales);
  }

  void add_smoothing(const std::string& name, int channels, int inputs) {
    std::vector<float> factors(inputs, 0.0f);
    for (int channel = 0; channel < channels; ++channel) {
      factors[channel] = random_.real(0.5f, 2.0f);
    }
    add_vector(name + ".smoothing", factors);
  }

  void add_floats_of(const std::string& name, int rows, int channels, int inputs, Format format,
                     float size) {
    std::vector<float> plain_values(static_cast<std::size_t>(rows) * channels);
    std::vector<float> packed(static_cast<std::size_t>(rows) * inputs, 0.0f);
    std::vector<std::uint16_t> halves(packed.size(), 0);
    const bool is_paired = format == Format::bf16;
    for (int row = 0; row < rows; ++row) {
      for (int input = 0; input < channels; ++input) {
        const float value = short_value(random_.real(-size, size));
        const std::size_t panel = static_cast<std::size_t>(row / kPanel) * inputs * kPanel;
        const int lane = row % kPanel;
        plain_values[static_cast<std::size_t>(row) * channels + input] = value;
        packed[panel + static_cast<std::size_t>(input) * kPanel + lane] = value;
        if (is_paired) {
          halves[panel + static_cast<std::size_t>(input / 2) * kPanel * 2 + lane * 2 + input % 2] =
              bfloat_from_float(value);
        } else {
          halves[panel + static_cast<std::size_t>(input) * kPanel + lane] = half_from_float(value);
        }
      }
    }
    plain[name] = plain_values;
    if (format == Format::fp32) {
      add(name + ".codes", "F32", packed.data(), packed.size(), 4);
    } else {
      add(name + ".codes", is_paired ? "BF16" : "F16", halves.data(), halves.size(), 2);
    }
  }

  // The value, cut to one that bfloat16 and float16 hold: weights are the same in every format.
  static float short_value(float value) {
    if (std::fabs(value) < 0x1p-14f) return 0.0f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & 0xffff'0000u);
  }

  // Of a positive number in float16's range, cut.
  static std::uint16_t to_half(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value * 0x1p-112f);
    return static_cast<std::uint16_t>(bits >> 13);
  }

  Random random_;
  std::string matrices_;
  std::string tensors_;
  std::string data_;
  int paddings_ = 0;
};

}  // namespace slm
