// Tiny language models with random weights, of every kind of head.
//
// In: sizes and a number format. Out: an opened `LanguageModel`. Sizes differ from each other and
// from whole vectors wherever the format allows it.
#pragma once

#include <cmath>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "language_model/language_model.h"
#include "weights_writer.h"

namespace slm {

inline constexpr int kVocabulary = 300;    // of text heads
inline constexpr int kSpeakerHidden = 20;  // between the layers of the speaker projection

struct TinyModel {
  HeadKind kind = HeadKind::linear;
  WeightsWriter::Form form;
  int head_dim = 6;
  int intermediate = 40;
  int max_positions = 400;
  bool has_text_head = false;
  int speaker_channels = 0;  // 0: not speaker-aware
  std::string cache = "float32";
  std::vector<int> streams = {13, 9, 20};
  int query_heads = 4;
  int kv_heads = 2;
  int layers = 2;
  int heads = 6;
  std::string prefixes = "[]";  // of prompts, as JSON

  int hidden() const { return query_heads * head_dim; }
  bool is_next_token() const { return kind == HeadKind::lm_head; }
};

// Weights in a file of their own, and models over them.
class OpenedModel {
 public:
  explicit OpenedModel(const TinyModel& tiny) : tiny(tiny), writer(7) {
    add_layers();
    add_heads();
    add_speaker();
    write();
  }

  LanguageModel open(int threads = 1, const char* kernels = nullptr,
                     bool keeps_times = false) const {
    return LanguageModel(*weights_, sizes_, *find_kernels(kernels), threads, keeps_times);
  }

  SpeechCodes codes() const { return SpeechCodes(*weights_, sizes_); }

  // Sections of the "slm" metadata.
  std::string facts() const;

  TinyModel tiny;
  WeightsWriter writer;

 private:
  std::vector<float> norm() {
    std::vector<float> values(round_up(tiny.hidden(), kPanel), 0.0f);
    for (int index = 0; index < tiny.hidden(); ++index) {
      values[index] = writer.random().real(0.5f, 1.5f);
    }
    return values;
  }

  void add_layer(const std::string& prefix) {
    const int attended = tiny.query_heads * tiny.head_dim;
    const int qkv = (tiny.query_heads + 2 * tiny.kv_heads) * tiny.head_dim;
    writer.add_vector(prefix + "input_norm", norm());
    writer.add_matrix(prefix + "qkv", qkv, tiny.hidden(), tiny.form, true);
    writer.add_matrix(prefix + "attention_output", tiny.hidden(), attended, tiny.form, false);
    writer.add_vector(prefix + "mlp_norm", norm());
    writer.add_matrix(prefix + "gate_up", 2 * tiny.intermediate, tiny.hidden(), tiny.form, false);
    writer.add_matrix(prefix + "down", tiny.hidden(), tiny.intermediate, tiny.form, false);
  }

  void add_layers() {
    std::vector<float> frequencies;
    for (int pair = 0; pair < tiny.head_dim / 2; ++pair) {
      frequencies.push_back(std::pow(1e4f, -2.0f * pair / tiny.head_dim));
    }
    writer.add_vector("rotary.frequencies", frequencies);
    for (int layer = 0; layer < tiny.layers; ++layer) {
      add_layer("layer." + std::to_string(layer) + ".");
    }
    writer.add_vector("final_norm", norm());
  }

  void add_heads() {
    const int streams = static_cast<int>(tiny.streams.size());
    const int heads = tiny.is_next_token() ? streams : tiny.heads;
    int codes = 0;
    for (int head = 0; head < heads; ++head) {
      const std::string prefix = "head." + std::to_string(head) + ".";
      int inputs = tiny.hidden();
      if (tiny.kind == HeadKind::mlp) {
        writer.add_matrix(prefix + "inner", 2 * inputs, inputs, tiny.form, true);
        inputs *= 2;
      }
      if (tiny.kind == HeadKind::transformer) {
        add_layer(prefix + "layer.0.");
        writer.add_vector(prefix + "norm.weight", norm());
        writer.add_vector(prefix + "norm.bias", norm());
      }
      const int special = !tiny.is_next_token() && head >= streams ? 2 : 1;
      writer.add_matrix(prefix + "output", tiny.streams[head % streams] + special, inputs,
                        tiny.form, true);
    }
    for (const int size : tiny.streams) codes += size;
    const std::size_t rows = codes + (tiny.is_next_token() ? 1 : 2);
    writer.add_vector("code_embeddings", writer.random().reals(rows * tiny.hidden()));
    if (!tiny.has_text_head) return;
    writer.add_matrix("text_head", kVocabulary, tiny.hidden(), tiny.form, false);
    std::vector<std::uint8_t> never(kVocabulary, 0);
    for (int token = 0; token < kVocabulary; token += 3) never[token] = 1;
    writer.add_bytes("text_head.never", never);
  }

  void add_speaker() {
    if (tiny.speaker_channels == 0) return;
    const WeightsWriter::Form form;
    writer.add_matrix("speaker.inner", kSpeakerHidden, tiny.speaker_channels, form, true);
    writer.add_matrix("speaker.output", tiny.hidden(), kSpeakerHidden, form, true);
  }

  void write() {
    const std::filesystem::path path =
        std::filesystem::temp_directory_path() /
        ("slm-tiny-model-" + std::to_string(std::random_device()()) + ".safetensors");
    writer.write(path.string(), facts());
    weights_ = std::make_unique<Weights>(path.string(), false, 1);
    std::filesystem::remove(path);
    sizes_ = read_model_sizes(weights_->facts());
  }

  std::unique_ptr<Weights> weights_;
  ModelSizes sizes_;
};

inline std::string OpenedModel::facts() const {
  static constexpr const char* kKinds[] = {"linear", "mlp", "transformer", "lm_head"};
  static constexpr const char* kFormats[] = {"fp32", "bf16", "fp16", "int8", "int4"};
  const auto number = [](const char* name, int value) {
    std::string text("\"");
    return text.append(name).append("\":").append(std::to_string(value)).append(",");
  };
  std::string facts = "\"language_model\":{\"kind\":\"";
  facts += tiny.is_next_token() ? "ntp\"," : "mtp\",";
  facts += number("heads", tiny.is_next_token() ? 1 : tiny.heads);
  facts += number("hidden_size", tiny.hidden()) + number("layers", tiny.layers);
  facts += number("intermediate_size", tiny.intermediate);
  facts += number("query_heads", tiny.query_heads);
  facts += number("kv_heads", tiny.kv_heads) + number("head_dim", tiny.head_dim);
  facts += number("max_positions", tiny.max_positions);
  facts += number("head_layers", tiny.kind == HeadKind::transformer ? 1 : 0);
  facts += std::string("\"head_kind\":\"") + kKinds[static_cast<int>(tiny.kind)] + "\",";
  facts += std::string("\"precision\":\"") + kFormats[static_cast<int>(tiny.form.format)] + "\",";
  facts += "\"cache\":\"" + tiny.cache + "\",\"rms_norm_epsilon\":1e-6},\"streams\":[";
  for (std::size_t stream = 0; stream < tiny.streams.size(); ++stream) {
    facts.append(stream > 0 ? "," : "").append(std::to_string(tiny.streams[stream]));
  }
  facts += "],\"prefixes\":" + tiny.prefixes;
  if (tiny.has_text_head) {
    facts += ",\"text_head\":{\"vocabulary\":" + std::to_string(kVocabulary) + "}";
  }
  if (tiny.speaker_channels > 0) {
    facts += ",\"speaker\":{" + number("channels", tiny.speaker_channels);
    facts += "\"hidden\":" + std::to_string(kSpeakerHidden) + "}";
  }
  return facts;
}

}  // namespace slm
