// Tiny bundles with random weights: all files, as the exporter writes them.
//
// In: a language model's and a codec's sizes, and a directory. Out: a bundle in it.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "codec_file.h"
#include "tiny_model.h"
#include "weights/pages.h"
#include "weights/safetensors.h"
#include "weights/sha256.h"

namespace slm {

struct TinyBundle {
  const char* name = "";
  TinyModel model;
  CodecSizes codec;
  FormatOf codec_format = nullptr;
  bool is_phonemes = false;  // the tokenizer's kind
};

inline void write_file(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

// 8 bytes of length, a header filled up to `alignment`, data: the form of safetensors files.
inline std::string safetensors_of(std::string header, const std::string& data,
                                  std::size_t alignment) {
  while ((8 + header.size()) % alignment != 0) header += ' ';
  std::string file;
  for (int index = 0; index < 8; ++index) {
    file += static_cast<char>(std::uint64_t{header.size()} >> 8 * index & 0xff);
  }
  return file + header + data;
}

// One file of weights from two. sections: of the "slm" metadata, besides the matrices.
class WeightsJoiner {
 public:
  void add(const std::string& path) {
    const InputFile file(path);
    const SafetensorsHeader header = read_safetensors_header(file);
    const std::string& facts = header.metadata.at("slm");
    const std::size_t begin = facts.find('{', facts.find("\"matrices\"")) + 1;
    matrices_ += (matrices_.empty() ? "" : ",") + facts.substr(begin, facts.rfind("}}") - begin);
    for (const auto& [name, tensor] : header.tensors) {
      const bool is_padding = name.starts_with("padding.");
      const std::string known = is_padding ? "padding." + std::to_string(paddings_++) : name;
      tensors_ += ",\"" + known + "\":{\"dtype\":\"" + type_name(tensor.type) + "\",\"shape\":[" +
                  std::to_string(tensor.count) + "],\"data_offsets\":[" +
                  std::to_string(data_.size() + tensor.begin) + "," +
                  std::to_string(data_.size() + tensor.begin + tensor.bytes) + "]}";
    }
    const std::size_t before = data_.size();
    data_.resize(before + static_cast<std::size_t>(header.data_bytes));
    file.read_at(header.data_begin, data_.data() + before, data_.size() - before);
  }

  void write(const std::string& path, const std::string& sections) const {
    const std::string facts = "{\"format\":1," + sections + ",\"matrices\":{" + matrices_ + "}}";
    std::string quoted;
    for (const char letter : facts) {
      if (letter == '"') quoted += '\\';
      quoted += letter;
    }
    write_file(path,
               safetensors_of("{\"__metadata__\":{\"slm\":\"" + quoted + "\"}" + tensors_ + "}",
                              data_, 4096));
  }

 private:
  std::string matrices_, tensors_, data_;
  int paddings_ = 0;
};

inline std::string list_of(const std::vector<int>& values) {
  std::string list;
  for (const int value : values) list.append(list.empty() ? "" : ",").append(std::to_string(value));
  return "[" + list + "]";
}

inline std::string codec_facts(const CodecSizes& codec, const char* precision) {
  const auto number = [](const char* name, int value) {
    return std::string("\"") + name + "\":" + std::to_string(value) + ",";
  };
  std::string facts = "\"codec\":{";
  facts += number("sample_rate_hz", codec.sample_rate_hz);
  facts += number("latent_channels", codec.latent_channels);
  facts +=
      std::string("\"activation\":\"") + (codec.is_alias_free ? "alias_free" : "snake") + "\",";
  facts += number("decoder_channels", codec.decoder_channels);
  facts += "\"decoder_ratios\":" + list_of(codec.decoder_ratios) + ",";
  const bool is_mel = codec.content_encoder == ContentEncoder::mel;
  facts += std::string("\"content_encoder\":\"") + (is_mel ? "mel" : "waveform") + "\",";
  facts += number("encoder_channels", codec.encoder_channels);
  facts += "\"encoder_ratios\":" + list_of(codec.encoder_ratios) + ",";
  facts += number("codebook_channels", codec.codebook_channels);
  facts += number("content_codebooks", codec.content_codebooks);
  facts += number("prosody_codebooks", codec.prosody_codebooks);
  facts += number("residual_codebooks", 0) + number("prosody_bins", codec.prosody_bins);
  facts +=
      "\"mel\":{" + number("n_fft", codec.n_fft) + number("window_samples", codec.window_samples);
  facts += number("bins", codec.mel_bins) + "\"highest_hz\":4000.0},";
  facts += number("transformer_layers", codec.transformer_layers);
  facts += number("transformer_heads", codec.transformer_heads);
  facts += number("transformer_ffn_channels", codec.transformer_ffn_channels);
  facts += number("delay_frames", codec.delay_frames);
  return facts + "\"precision\":\"" + precision + "\"}";
}

// A .npy file of float32 [rows][columns].
inline std::string npy_of(int rows, int columns, const std::vector<float>& values) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" +
                       std::to_string(rows) + ", " + std::to_string(columns) + "), }";
  while ((10 + header.size()) % 64 != 63) header += ' ';
  header += '\n';
  std::string file = "\x93NUMPY";
  file += '\1';
  file += '\0';
  file += static_cast<char>(header.size() & 0xff);
  file += static_cast<char>(header.size() >> 8);
  return file + header +
         std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

inline std::string voice_of(const std::vector<float>& speaker) {
  const std::string bytes(reinterpret_cast<const char*>(speaker.data()), speaker.size() * 4);
  const std::string count = std::to_string(speaker.size());
  return safetensors_of("{\"speaker\":{\"dtype\":\"F32\",\"shape\":[" + count +
                            "],\"data_offsets\":[0," + std::to_string(bytes.size()) + "]}}",
                        bytes, 8);
}

// A tokenizer of either kind that samples/cpp reads.
inline std::string tokenizer_of(bool is_phonemes) {
  std::string added =
      "\"added_tokens\":[{\"id\":297,\"content\":\"<sosp>\",\"single_word\":false,"
      "\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":false},"
      "{\"id\":298,\"content\":\"<|placeholder|>\",\"single_word\":false,"
      "\"lstrip\":false,\"rstrip\":false,\"normalized\":true,\"special\":false}],";
  if (is_phonemes) {
    return "{" + added +
           "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":"
           "\"[ˈˌ]*.\"},\"behavior\":\"Isolated\",\"invert\":false},\"model\":{\"type\":"
           "\"WordLevel\",\"vocab\":{\"<unk>\":0,\"a\":1,\"ˈa\":2,\" "
           "\":3},\"unk_token\":\"<unk>\"}}";
  }
  std::string vocabulary;
  char32_t unseen = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool is_visible = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
    const char32_t letter = is_visible ? byte : unseen++;
    std::string text = letter == '"' || letter == '\\' ? "\\" : "";
    text += letter < 0x80 ? std::string(1, static_cast<char>(letter))
                          : std::string{static_cast<char>(0xC0 | letter >> 6),
                                        static_cast<char>(0x80 | (letter & 0x3F))};
    vocabulary += "\"" + text + "\":" + std::to_string(byte) + ",";
  }
  return "{" + added +
         "\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":\"Sequence\","
         "\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|"
         "'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| "
         "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|"
         "\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"Isolated\",\"invert\":false}"
         ","
         "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]},\"model\":{"
         "\"type\":\"BPE\",\"dropout\":null,\"unk_token\":null,\"vocab\":{" +
         vocabulary + "\"th\":256,\"the\":257},\"merges\":[[\"t\",\"h\"],\"th e\"]}}";
}

inline std::string record_of(const std::string& folder, const std::string& file) {
  const std::string content = read_file(folder + "/" + file, std::size_t{1} << 30);
  Sha256 hash;
  hash.add(content.data(), content.size());
  return "\"" + file + "\":{\"size_bytes\":" + std::to_string(content.size()) + ",\"sha256\":\"" +
         hash.finish() + "\"}";
}

inline std::string manifest_of(const TinyBundle& bundle, const std::string& folder) {
  const TinyModel& model = bundle.model;
  const auto number = [](const char* name, int value) {
    return std::string("\"") + name + "\":" + std::to_string(value) + ",";
  };
  std::string text = "{\"schema_version\":2,\"engine\":{\"kind\":\"native\"},\"language_model\":{";
  text += std::string("\"kind\":\"") + (model.is_next_token() ? "ntp" : "mtp") + "\",";
  text += number("heads", model.is_next_token() ? 1 : model.heads);
  text += number("hidden_size", model.hidden()) + number("max_positions", model.max_positions);
  text += std::string("\"speaker_aware\":") + (model.speaker_channels > 0 ? "true" : "false");
  text +=
      "},\"prompt\":{\"template\":\"{text}<|placeholder|><sosp>\",\"bos_id\":299,"
      "\"placeholder_id\":298,\"text_frontend\":{\"kind\":\"none\"}},\"sampling\":{\"do_sample\":"
      "true,\"temperature\":1.0,\"top_k\":5,\"top_p\":0.9,\"repetition_penalty\":1.1},"
      "\"length\":{\"frames_per_token\":4.5,\"extra_frames\":20},\"codec\":{";
  text += "\"streams\":" + list_of(model.streams) + ",";
  text += number("sample_rate_hz", bundle.codec.sample_rate_hz);
  text += number("hop_samples", bundle.codec.hop_samples);
  text += number("delay_frames", bundle.codec.delay_frames);
  text += "\"speaker_channels\":" + std::to_string(bundle.codec.speaker_channels()) + "},";
  text +=
      "\"tokenizer\":\"tokenizer.json\",\"embeddings\":\"embeddings.npy\","
      "\"voices\":{\"ann\":\"voices/ann.safetensors\"},\"default_voice\":\"ann\",\"files\":{";
  for (const char* file : {"weights.safetensors", "embeddings.npy", "tokenizer.json"}) {
    text += record_of(folder, file) + ",";
  }
  return text + record_of(folder, "voices/ann.safetensors") + "}}";
}

inline void write_bundle(const TinyBundle& bundle, const std::string& folder) {
  std::filesystem::create_directories(folder + "/voices");
  const OpenedModel model(bundle.model);
  model.writer.write(folder + "/model", model.facts());
  CodecWriter(bundle.codec, bundle.codec_format, 7).write(folder + "/codec");
  WeightsJoiner joiner;
  for (const char* part : {"/model", "/codec"}) {
    joiner.add(folder + part);
    std::filesystem::remove(folder + part);
  }
  const char* precision = format_name(bundle.codec_format(0));
  joiner.write(folder + "/weights.safetensors",
               model.facts() + "," + codec_facts(bundle.codec, precision));
  Random random(11);
  const int width = bundle.model.hidden();
  write_file(
      folder + "/embeddings.npy",
      npy_of(kVocabulary, width, random.reals(static_cast<std::size_t>(kVocabulary * width))));
  write_file(folder + "/voices/ann.safetensors",
             voice_of(random.reals(static_cast<std::size_t>(bundle.codec.speaker_channels()))));
  write_file(folder + "/tokenizer.json", tokenizer_of(bundle.is_phonemes));
  write_file(folder + "/manifest.json", manifest_of(bundle, folder));
}

inline CodecSizes tiny_codec(bool is_alias_free, ContentEncoder encoder) {
  CodecSizes codec;
  codec.sample_rate_hz = 8'000;
  codec.latent_channels = 24;
  codec.is_alias_free = is_alias_free;
  codec.decoder_channels = is_alias_free ? 20 : 36;
  codec.decoder_ratios = {3, 2};
  codec.content_encoder = encoder;
  codec.encoder_channels = 5;
  codec.encoder_ratios = {2, 3};
  codec.codebook_channels = 6;
  codec.content_codebooks = 2;
  codec.prosody_codebooks = 1;
  codec.prosody_bins = 7;
  codec.n_fft = 32;
  codec.window_samples = 24;
  codec.mel_bins = 11;
  codec.highest_hz = 4'000;
  codec.transformer_layers = 1;
  codec.transformer_heads = 3;
  codec.transformer_ffn_channels = 20;
  codec.hop_samples = 6;
  codec.delay_frames = 17;
  codec.streams = TinyModel().streams;
  return codec;
}

// Bundles that have everything between them: kinds of heads, number formats, both activations, both
// content encoders, a text head, with and without a speaker in the prompt.
inline std::vector<TinyBundle> tiny_bundles() {
  using Form = WeightsWriter::Form;
  TinyBundle plain, few, coded, next;
  plain.name = "plain";
  plain.model.has_text_head = true;
  plain.model.prefixes = "[[299,12,40],[299,12,298,7]]";  // 298: a speaker's place
  plain.codec = tiny_codec(true, ContentEncoder::waveform);
  plain.codec_format = [](int) { return Format::fp32; };
  few.name = "few";
  few.model.kind = HeadKind::transformer;
  few.model.form = Form{Format::int4, 32, false, true};
  few.model.cache = "float16";
  few.model.prefixes = "[[299,5]]";
  few.codec = tiny_codec(false, ContentEncoder::mel);
  few.codec_format = [](int index) { return index % 4 == 3 ? Format::fp32 : Format::int8; };
  few.is_phonemes = true;
  coded.name = "coded";
  coded.model.kind = HeadKind::mlp;
  coded.model.form = Form{Format::int8, 128, true, false};
  coded.model.cache = "int8";
  coded.codec = tiny_codec(false, ContentEncoder::waveform);
  coded.codec_format = [](int) { return Format::bf16; };
  next.name = "next";
  next.model.kind = HeadKind::lm_head;
  next.model.form = Form{Format::bf16, 0, false, false};
  next.codec = tiny_codec(true, ContentEncoder::mel);
  next.codec_format = [](int) { return Format::fp32; };
  plain.model.speaker_channels = few.model.speaker_channels = plain.codec.speaker_channels();
  return {plain, few, coded, next};
}

}  // namespace slm
