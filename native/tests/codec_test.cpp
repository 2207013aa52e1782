// codec/: random tiny codecs. The same bits whatever the chunks, the pieces and the threads; hastened
// speech; hostile calls. Values are compared with ONNX Runtime's by tests/test_native_parity.py.
#include "codec/codec.h"

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "codec/speech.h"
#include "codec_file.h"

namespace slm {
namespace {

std::string folder;

CodecSizes sizes_of(bool is_alias_free, ContentEncoder encoder) {
  CodecSizes sizes;
  sizes.sample_rate_hz = 12'000;
  sizes.latent_channels = 40;
  sizes.is_alias_free = is_alias_free;
  sizes.decoder_channels = is_alias_free ? 48 : 76;
  sizes.decoder_ratios = {5, 2};
  sizes.content_encoder = encoder;
  sizes.encoder_channels = 5;
  sizes.encoder_ratios = {2, 5};
  sizes.codebook_channels = 6;
  sizes.content_codebooks = 2;
  sizes.prosody_codebooks = 1;
  sizes.prosody_bins = 7;
  sizes.n_fft = 64;
  sizes.window_samples = 48;
  sizes.mel_bins = 11;
  sizes.transformer_layers = 2;
  sizes.transformer_heads = 4;
  sizes.transformer_ffn_channels = 56;
  sizes.hop_samples = 10;
  sizes.streams = {48, 20, 33};
  return sizes;
}

Weights random_weights(const CodecSizes& sizes, FormatOf format) {
  const std::string path = folder + "/codec.safetensors";
  CodecWriter(sizes, format, 7).write(path);
  return Weights(path, false, 1);
}

std::vector<std::int32_t> random_frames(const CodecSizes& sizes, int count) {
  Random random(3);
  std::vector<std::int32_t> frames;
  for (int frame = 0; frame < count; ++frame) {
    for (const int codes : sizes.streams) frames.push_back(random.integer(0, codes - 1));
  }
  return frames;
}

// The audio of frames that are given in chunks of these sizes, in turn; the last one ends it.
std::vector<float> decode(const Codec& codec, const std::vector<std::int32_t>& frames,
                          const std::vector<int>& chunks, bool ends_empty = false,
                          int look_ahead = -1) {
  const int streams = static_cast<int>(codec.sizes().streams.size());
  const int count = static_cast<int>(frames.size()) / streams;
  Speech speech(codec, Random(5).reals(codec.sizes().speaker_channels()).data());
  if (look_ahead >= 0) speech.hasten(look_ahead);
  std::vector<float> audio;
  int given = 0;
  bool has_ended = false;
  for (int turn = 0; !has_ended && (given < count || ends_empty); ++turn) {
    const int some = std::min(chunks[turn % chunks.size()], count - given);
    has_ended = given + some == count && (!ends_empty || some == 0);
    const std::size_t before = audio.size();
    const Position samples = speech.samples_of(some, has_ended);
    CHECK(samples <= speech.most_samples_of(some), "room");
    audio.resize(before + samples, NAN);
    speech.decode(frames.data() + given * streams, some, has_ended, audio.data() + before);
    given += some;
  }
  CHECK(static_cast<int>(audio.size()) == count * codec.sizes().hop_samples, "whole length");
  float power = 0;
  for (const float sample : audio) {
    CHECK(std::isfinite(sample), "finite audio");
    power += sample * sample;
  }
  CHECK(power > 1e-3f * audio.size(), "audible");
  return audio;
}

void test_same_bits(const CodecSizes& sizes, FormatOf format, const char* what) {
  const Weights weights = random_weights(sizes, format);
  for (int table = 0; table < usable_kernels().count; ++table) {
    const Kernels& kernels = *usable_kernels().tables[table];
    const Codec codec(weights, sizes, kernels, 1), shared(weights, sizes, kernels, 2);
    const Codec pieces(weights, sizes, kernels, 2, 1), large(weights, sizes, kernels, 1, 64 << 20);
    for (const int count : {1, 2, 7, 90}) {
      const std::vector<std::int32_t> frames = random_frames(sizes, count);
      const std::vector<float> whole = decode(codec, frames, {count});
      const std::vector<std::vector<int>> splits = {{1}, {20}, {2, 0, 5, 1}, {count / 2 + 1}};
      for (const std::vector<int>& chunks : splits) {
        CHECK(decode(codec, frames, chunks) == whole, what);
        CHECK(decode(shared, frames, chunks, true) == whole, what);
      }
      CHECK(decode(pieces, frames, {count}) == whole, what);
      CHECK(decode(pieces, frames, {3, 17}) == whole, what);
      CHECK(decode(large, frames, {count}, true) == whole, what);
    }
  }
}

template <typename Work>
void check_refused(Work&& work, slm_status status, const char* part) {
  try {
    work();
  } catch (const Failure& failure) {
    CHECK(failure.status() == status, failure.what());
    CHECK(std::string(failure.what()).find(part) != std::string::npos, failure.what());
    return;
  }
  CHECK(false, part);
}

// Hastened audio is there early, close to the exact one, and exact before and behind.
void test_hastened(const CodecSizes& sizes) {
  const Weights weights = random_weights(sizes, [](int) { return Format::fp32; });
  const Codec codec(weights, sizes, *find_kernels(nullptr), 1);
  const int hop = sizes.hop_samples, first = 30, count = 90;
  const std::vector<std::int32_t> frames = random_frames(sizes, count);
  const std::vector<float> exact = decode(codec, frames, {count});
  const int final = static_cast<int>(codec.decoder().final_samples(first, false));
  for (const int look_ahead : {0, 2, 5, 29, 60}) {
    for (const std::vector<int>& chunks :
         {std::vector<int>{first, 1}, {first, 60}, {first, 0, 7}}) {
      const std::vector<float> audio = decode(codec, frames, chunks, false, look_ahead);
      const int join = std::max(0, (first - look_ahead) * hop);
      const bool is_early = join > final;
      for (int sample = 0; sample < count * hop; ++sample) {
        const bool may_differ = is_early && sample >= final && sample < join + hop;
        CHECK(may_differ || audio[sample] == exact[sample], "exact");
      }
      if (!is_early || look_ahead > 5) continue;  // farther frames may change no bit
      CHECK(!std::equal(audio.begin() + final, audio.begin() + join, exact.begin() + final),
            "early");
    }
  }
  Speech speech(codec, exact.data());
  speech.hasten(2);
  CHECK(speech.samples_of(first, false) == (first - 2) * hop, "up to the look-ahead");
  CHECK(speech.samples_of(2, false) == 0, "nothing within the look-ahead");
  check_refused([&] { speech.hasten(-1); }, SLM_BAD_ARGUMENT, "look_ahead");
  std::vector<float> audio(count * hop);
  speech.decode(frames.data(), 1, false, audio.data());
  check_refused([&] { speech.hasten(2); }, SLM_BAD_ARGUMENT, "already");
}

void test_encoder(const CodecSizes& sizes, const char* what) {
  const Weights weights = random_weights(sizes, [](int) { return Format::fp32; });
  const Kernels& kernels = *find_kernels(nullptr);
  const Codec codec(weights, sizes, kernels, 1), pieces(weights, sizes, kernels, 2, 1);
  for (const int samples : {32, 33, 100, 999, 5003}) {
    const std::vector<float> audio = Random(11).reals(samples);
    const Encoder::Result found = codec.encode(audio.data(), audio.size());
    CHECK(found.frames.size() >= samples / 10 * sizes.streams.size(), what);
    for (std::size_t i = 0; i < found.frames.size(); ++i) {
      CHECK(found.frames[i] >= 0 && found.frames[i] < sizes.streams[i % sizes.streams.size()],
            what);
    }
    for (const float value : found.speaker) CHECK(std::isfinite(value), what);
    const Encoder::Result again = pieces.encode(audio.data(), audio.size());
    CHECK(again.frames == found.frames && again.speaker == found.speaker, what);
  }
}

void test_refusals() {
  const CodecSizes sizes = sizes_of(true, ContentEncoder::waveform);
  const Weights weights = random_weights(sizes, [](int) { return Format::fp32; });
  const Codec codec(weights, sizes, *find_kernels(nullptr), 1);
  std::vector<float> speaker(40, 0.1f), audio(600, 0.0f);
  Speech speech(codec, speaker.data());
  const std::int32_t wrong[][3] = {{0, 20, 0}, {-1, 0, 0}, {0, 0, 33}};
  for (const auto& frame : wrong) {
    check_refused([&] { speech.decode(frame, 1, false, audio.data()); }, SLM_BAD_ARGUMENT,
                  "is not in stream");
  }
  check_refused([&] { speech.samples_of(Position{1} << 50, false); }, SLM_BAD_ARGUMENT, "too many");
  speech.decode(nullptr, 0, true, nullptr);  // an utterance of no frames, as nothing has changed
  check_refused([&] { speech.decode(nullptr, 0, true, nullptr); }, SLM_BAD_ARGUMENT, "last frames");
  check_refused([&] { codec.encode(audio.data(), 31); }, SLM_BAD_ARGUMENT, "too short");
  audio.assign(12'000 * 30 + 1, 0.0f);
  check_refused([&] { codec.encode(audio.data(), audio.size()); }, SLM_BAD_ARGUMENT, "too long");
  audio[17] = NAN;
  check_refused([&] { codec.encode(audio.data(), 600); }, SLM_BAD_ARGUMENT, "sample 17");
  speaker[3] = INFINITY;
  check_refused([&] { codec.open_speech(speaker.data()); }, SLM_BAD_ARGUMENT, "value 3");
  CodecSizes larger = sizes;
  larger.decoder_ratios = {2, 5};
  check_refused([&] { Codec(weights, larger, *find_kernels(nullptr), 1); }, SLM_BAD_BUNDLE, "up");
  check_refused(
      [&] {
        const Weights codes = random_weights(sizes, [](int) { return Format::int4; });
        Codec(codes, sizes, *find_kernels(nullptr), 1);
      },
      SLM_BAD_BUNDLE, "");
  check_refused(
      [&] {
        const Weights halves = random_weights(sizes, [](int) { return Format::fp16; });
        Codec(halves, sizes, *find_kernels(nullptr), 1);
      },
      SLM_BAD_BUNDLE, "is in fp16, which the codec does not take");
}

}  // namespace
}  // namespace slm

int main() {
  using slm::ContentEncoder, slm::Format;
  const std::string name = "slm_codec_test_" + std::to_string(std::random_device{}());
  slm::folder = std::filesystem::temp_directory_path() / name;
  std::filesystem::create_directories(slm::folder);
  const slm::CodecSizes alias_free = slm::sizes_of(true, ContentEncoder::waveform);
  const slm::CodecSizes plain = slm::sizes_of(false, ContentEncoder::mel);
  slm::test_same_bits(alias_free, [](int) { return Format::fp32; }, "alias-free, fp32");
  slm::test_same_bits(plain, [](int) { return Format::fp32; }, "plain, fp32");
  slm::test_same_bits(alias_free, [](int) { return Format::bf16; }, "alias-free, bf16");
  slm::test_same_bits(plain, [](int) { return Format::int8; }, "plain, int8");
  slm::test_same_bits(
      alias_free,
      [](int index) {
        return index % 3 == 0 ? Format::int8 : index % 3 == 1 ? Format::bf16 : Format::fp32;
      },
      "alias-free, mixed");
  slm::test_hastened(alias_free);
  slm::test_hastened(plain);
  slm::test_encoder(alias_free, "waveform encoder");
  slm::test_encoder(plain, "mel encoder");
  slm::test_refusals();
  std::filesystem::remove_all(slm::folder);
  std::puts("the codec's results depend on its inputs only");
}
