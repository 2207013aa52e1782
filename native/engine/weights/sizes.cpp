// Reading the models' sizes: bounds first, then what must fit each other.
#include "weights/sizes.h"

#include <cstdint>
#include <initializer_list>
#include <utility>

#include "failure.h"

namespace slm {
namespace {

constexpr int kMaxLayers = 1024;
constexpr int kMaxWidth = 1 << 16;  // channels of a layer
constexpr int kMaxInner = 1 << 20;  // channels between two products
constexpr int kMaxVocabulary = 1 << 24;
constexpr int kMaxRatios = 12;
constexpr int kMaxHop = 65'536;
constexpr int kMaxDelayFrames = 400;
constexpr int kMaxFft = 1 << 20;
constexpr int kMaxBins = 4096;
constexpr int kMaxCodebooks = 64;

[[noreturn]] void fail(const std::string& what) {
  throw Failure(SLM_BAD_BUNDLE, std::string(what) + "; copy or export the bundle again");
}

int read_size(const Json& section, const char* key, int most, int least = 1) {
  return static_cast<int>(section.at(key).integer(least, most));
}

// Members of a section that may be null or missing: a null pointer then.
const Json* find_section(const Json& facts, const char* key) {
  const Json* section = facts.find(key);
  return section == nullptr || section->kind() == Json::Kind::null ? nullptr : section;
}

template <typename Choice>
Choice read_choice(const Json& section, const char* key,
                   std::initializer_list<std::pair<const char*, Choice>> choices) {
  const std::string& found = section.at(key).string();
  for (const auto& [name, choice] : choices) {
    if (found == name) return choice;
  }
  fail(std::string(key) + " is '" + found.substr(0, 40) + "', which this library does not know");
}

std::vector<int> read_streams(const Json& facts) {
  std::vector<int> streams;
  for (const Json& size : facts.at("streams").items()) {
    streams.push_back(static_cast<int>(size.integer(1, kMaxCodes)));
  }
  if (streams.empty() || streams.size() > kMaxStreams) fail("a codec has 1 to 16 streams");
  return streams;
}

std::vector<int> read_ratios(const Json& codec, const char* key) {
  std::vector<int> ratios;
  for (const Json& ratio : codec.at(key).items()) {
    ratios.push_back(static_cast<int>(ratio.integer(2, kMaxHop)));
  }
  if (ratios.empty() || ratios.size() > kMaxRatios) fail(std::string(key) + ": 1 to 12 ratios");
  return ratios;
}

int product_of(const std::vector<int>& ratios) {
  std::int64_t product = 1;
  for (const int ratio : ratios) {
    product *= ratio;
    if (product > kMaxHop) fail("a frame has more than 65536 samples");
  }
  return static_cast<int>(product);
}

float read_epsilon(const Json& model) {
  const double epsilon = model.at("rms_norm_epsilon").number();
  if (!(epsilon > 0 && epsilon < 1)) fail("rms_norm_epsilon must be between 0 and 1");
  return static_cast<float>(epsilon);
}

void read_heads(const Json& model, ModelSizes& sizes) {
  sizes.is_next_token = read_choice<bool>(model, "kind", {{"mtp", false}, {"ntp", true}});
  sizes.heads = read_size(model, "heads", kMaxHeads);
  sizes.head_kind = read_choice<HeadKind>(model, "head_kind",
                                          {{"linear", HeadKind::linear},
                                           {"mlp", HeadKind::mlp},
                                           {"transformer", HeadKind::transformer},
                                           {"lm_head", HeadKind::lm_head}});
  const Json* head_layers = find_section(model, "head_layers");
  sizes.head_layers =
      head_layers == nullptr ? 0 : static_cast<int>(head_layers->integer(0, kMaxLayers));
}

void check_model(const ModelSizes& sizes) {
  if (sizes.is_next_token ? sizes.heads != 1
                          : sizes.heads % static_cast<int>(sizes.streams.size()) != 0) {
    fail("heads must be 1 for ntp, a multiple of the streams for mtp");
  }
  if (sizes.is_next_token != (sizes.head_kind == HeadKind::lm_head)) {
    fail("head_kind does not fit the kind of model");
  }
  if ((sizes.head_kind == HeadKind::transformer) != (sizes.head_layers > 0)) {
    fail("head_layers must be there for transformer heads, and for no others");
  }
  if (sizes.query_heads % sizes.kv_heads != 0) fail("query_heads must be a multiple of kv_heads");
  if (sizes.head_dim % 2 != 0) fail("head_dim must be even");
  if (sizes.query_heads * sizes.head_dim != sizes.hidden_size) {
    fail("hidden_size must be query_heads * head_dim");
  }
}

void check_codec(const CodecSizes& sizes) {
  if (product_of(sizes.encoder_ratios) != sizes.hop_samples) {
    fail("encoder_ratios and decoder_ratios must have the same product");
  }
  if (sizes.decoder_channels % (1 << sizes.decoder_ratios.size()) != 0) {
    fail("decoder_channels must be divisible by two once for every decoder ratio");
  }
  if (sizes.latent_channels % (2 * sizes.transformer_heads) != 0) {
    fail("latent_channels must be an even multiple of transformer_heads");
  }
  if (!(sizes.hop_samples < sizes.window_samples && sizes.window_samples <= sizes.n_fft)) {
    fail("mel: needs hop < window_samples <= n_fft");
  }
  if ((sizes.n_fft - sizes.hop_samples) % 2 != 0) {
    fail("mel: n_fft must differ from the hop by an even number");
  }
  if (sizes.prosody_bins > sizes.mel_bins) fail("prosody_bins must be at most the mel's bins");
  if (!(sizes.highest_hz > 0 && sizes.highest_hz <= sizes.sample_rate_hz / 2.0)) {
    fail("mel: highest_hz must be above 0 and at most half the sample rate");
  }
  const int books = sizes.content_codebooks + sizes.prosody_codebooks;
  if (books != static_cast<int>(sizes.streams.size())) {
    fail("the codec must have a stream for each content and each prosody codebook");
  }
  if (sizes.precision == Format::int4 || sizes.precision == Format::fp16) {
    fail(std::string("a codec has no precision ") + format_name(sizes.precision));
  }
}

void read_encoder(const Json& codec, CodecSizes& sizes) {
  sizes.content_encoder = read_choice<ContentEncoder>(
      codec, "content_encoder",
      {{"waveform", ContentEncoder::waveform}, {"mel", ContentEncoder::mel}});
  sizes.encoder_channels = read_size(codec, "encoder_channels", kMaxWidth);
  sizes.encoder_ratios = read_ratios(codec, "encoder_ratios");
  sizes.codebook_channels = read_size(codec, "codebook_channels", kMaxWidth);
  sizes.content_codebooks = read_size(codec, "content_codebooks", kMaxStreams);
  sizes.prosody_codebooks = read_size(codec, "prosody_codebooks", kMaxStreams);
  sizes.residual_codebooks = read_size(codec, "residual_codebooks", kMaxCodebooks, 0);
  sizes.prosody_bins = read_size(codec, "prosody_bins", kMaxBins);
  sizes.transformer_layers = read_size(codec, "transformer_layers", kMaxLayers);
  sizes.transformer_heads = read_size(codec, "transformer_heads", kMaxWidth);
  sizes.transformer_ffn_channels = read_size(codec, "transformer_ffn_channels", kMaxInner);
  const Json& mel = codec.at("mel");
  sizes.n_fft = read_size(mel, "n_fft", kMaxFft);
  sizes.window_samples = read_size(mel, "window_samples", kMaxFft);
  sizes.mel_bins = read_size(mel, "bins", kMaxBins);
  sizes.highest_hz = mel.at("highest_hz").number();
}

}  // namespace

int ModelSizes::total_codes() const {
  int total = 0;
  for (const int size : streams) total += size;
  return total;
}

ModelSizes read_model_sizes(const Json& facts) {
  const Json& model = facts.at("language_model");
  ModelSizes sizes;
  read_heads(model, sizes);
  sizes.hidden_size = read_size(model, "hidden_size", kMaxWidth);
  sizes.intermediate_size = read_size(model, "intermediate_size", kMaxInner);
  sizes.layers = read_size(model, "layers", kMaxLayers);
  sizes.query_heads = read_size(model, "query_heads", kMaxWidth);
  sizes.kv_heads = read_size(model, "kv_heads", kMaxWidth);
  sizes.head_dim = read_size(model, "head_dim", kMostHeadDim);
  sizes.max_positions = read_size(model, "max_positions", kMaxPositions);
  sizes.rms_norm_epsilon = read_epsilon(model);
  sizes.precision = read_format(model.at("precision"));
  sizes.cache = read_choice<CacheFormat>(model, "cache",
                                         {{"float32", CacheFormat::float32},
                                          {"float16", CacheFormat::float16},
                                          {"int8", CacheFormat::int8}});
  sizes.streams = read_streams(facts);
  if (const Json* speaker = find_section(facts, "speaker")) {
    sizes.speaker_channels = read_size(*speaker, "channels", kMaxWidth);
    sizes.speaker_hidden = read_size(*speaker, "hidden", kMaxInner);
  }
  if (const Json* text_head = find_section(facts, "text_head")) {
    sizes.text_vocabulary = read_size(*text_head, "vocabulary", kMaxVocabulary);
  }
  check_model(sizes);
  return sizes;
}

CodecSizes read_codec_sizes(const Json& facts) {
  const Json& codec = facts.at("codec");
  CodecSizes sizes;
  sizes.sample_rate_hz = read_size(codec, "sample_rate_hz", 768'000, 1'000);
  sizes.latent_channels = read_size(codec, "latent_channels", kMaxWidth);
  sizes.is_alias_free =
      read_choice<bool>(codec, "activation", {{"alias_free", true}, {"snake", false}});
  sizes.decoder_channels = read_size(codec, "decoder_channels", kMaxWidth);
  sizes.decoder_ratios = read_ratios(codec, "decoder_ratios");
  sizes.hop_samples = product_of(sizes.decoder_ratios);
  sizes.precision = read_format(codec.at("precision"));
  sizes.delay_frames = read_size(codec, "delay_frames", kMaxDelayFrames, 0);
  sizes.streams = read_streams(facts);
  read_encoder(codec, sizes);
  check_codec(sizes);
  return sizes;
}

const char* format_name(Format format) {
  static constexpr const char* kNames[] = {"fp32", "bf16", "fp16", "int8", "int4"};
  return kNames[static_cast<int>(format)];
}

const char* cache_name(CacheFormat format) {
  static constexpr const char* kNames[] = {"float32", "float16", "int8"};
  return kNames[static_cast<int>(format)];
}

Format read_format(const Json& value) {
  for (const Format format :
       {Format::fp32, Format::bf16, Format::fp16, Format::int8, Format::int4}) {
    if (value.string() == format_name(format)) return format;
  }
  fail(std::string("'").append(value.string(), 0, 40) +
       "' is no number format; there are fp32, bf16, fp16, int8, int4");
}

}  // namespace slm
