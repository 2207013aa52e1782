// How long the codec's decoder takes for a second of audio, beside the processor's own limit.
//
//   bench_codec [published|small] [fp32|bf16|int8] [threads] [frames of a chunk] [piece KiB]
//
// Weights are random. The limit is a loop of fused multiply-adds in registers, measured in turn
// with the decoder. Time is the processor's (all threads together), and the clock's; the least of
// the runs.
#include "codec/codec.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "codec/speech.h"
#include "../tests/codec_file.h"

namespace slm {
namespace {

struct Seconds {
  double clock = 1e9, processor = 1e9;
};

template <typename Work>
void measure(Seconds& least, const Work& work) {
  const std::clock_t processor = std::clock();
  const auto clock = std::chrono::steady_clock::now();
  work();
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - clock;
  least.clock = std::min(least.clock, passed.count());
  least.processor =
      std::min(least.processor, static_cast<double>(std::clock() - processor) / CLOCKS_PER_SEC);
}

constexpr int kSteps = 200'000, kSums = 192;

// Fused multiply-adds on sums in registers, with whatever vectors the compiler has for this build.
float multiply_add(float x) {
  alignas(64) float sums[kSums] = {};
  for (int step = 0; step < kSteps; ++step) {
    for (float& sum : sums) sum = __builtin_fmaf(sum, x, x);
  }
  float total = 0;
  for (const float sum : sums) total += sum;
  return total;
}

CodecSizes sizes_of(bool is_published) {
  CodecSizes sizes;
  sizes.sample_rate_hz = 16'000;
  sizes.latent_channels = 256;
  sizes.is_alias_free = is_published;
  sizes.decoder_channels = is_published ? 1024 : 256;
  sizes.decoder_ratios = {5, 5, 4, 2};
  sizes.content_encoder = ContentEncoder::mel;
  sizes.encoder_channels = 32;
  sizes.encoder_ratios = {2, 4, 5, 5};
  sizes.codebook_channels = 8;
  sizes.content_codebooks = 2;
  sizes.prosody_codebooks = 1;
  sizes.prosody_bins = 20;
  sizes.n_fft = 1024;
  sizes.window_samples = 800;
  sizes.mel_bins = 80;
  sizes.transformer_layers = 1;
  sizes.transformer_heads = 4;
  sizes.transformer_ffn_channels = 64;
  sizes.hop_samples = 200;
  sizes.streams = {1024, 1024, 1024};
  return sizes;
}

double multiplications(const CodecSizes& sizes, int frames) {
  double channels = sizes.decoder_channels, rows = frames;
  double count = rows * channels * 7 * sizes.latent_channels;
  for (const int ratio : sizes.decoder_ratios) {
    count += rows * 2 * channels * ratio * channels / 2;
    rows *= ratio;
    channels /= 2;
    count += rows * 3 * 8 * channels * channels;
  }
  return count + rows * 7 * channels;
}

template <Format kFormat>
Format always(int) {
  return kFormat;
}

void run(const std::string& size, const std::string& format, int threads, int chunk, int piece) {
  const CodecSizes sizes = sizes_of(size == "published");
  const std::string name =
      "slm_bench_codec_" + std::to_string(std::random_device{}()) + ".safetensors";
  const std::string path = std::filesystem::temp_directory_path() / name;
  CodecWriter(sizes,
              format == "bf16"   ? always<Format::bf16>
              : format == "int8" ? always<Format::int8>
                                 : always<Format::fp32>,
              1)
      .write(path);
  const Weights weights(path, false, 1);
  std::filesystem::remove(path);
  const Kernels& kernels = *find_kernels(nullptr);
  const Codec codec(weights, sizes, kernels, threads, piece * std::size_t{1024});
  const int frames = 80;
  std::vector<std::int32_t> codes;
  Random random(2);
  for (int i = 0; i < 3 * frames; ++i) codes.push_back(random.integer(0, 1023));
  const std::vector<float> speaker = random.reals(256);
  std::vector<float> audio(frames * sizes.hop_samples);
  Seconds decoding, limit;
  volatile float kept = 0;
  for (int turn = 0; turn < 9; ++turn) {
    measure(limit, [&] { kept = multiply_add(0.5f); });
    Speech speech(codec, speaker.data());
    measure(decoding, [&] {
      const int step = chunk > 0 ? chunk : frames;
      float* place = audio.data();
      for (int frame = 0; frame < frames; frame += step) {
        const int some = std::min(step, frames - frame);
        const bool is_last = frame + some == frames;
        const Position samples = speech.samples_of(some, is_last);
        speech.decode(codes.data() + 3 * frame, some, is_last, place);
        place += samples;
      }
    });
  }
  const double products = 2 * multiplications(sizes, frames);
  const double rate = products / decoding.processor, most = 2.0 * kSteps * kSums / limit.processor;
  std::printf(
      "%s %s %s, %d threads, chunks of %d, pieces of %d KiB: %.1f ms (processor %.1f ms); "
      "%.0f GFLOP/s a thread, %.0f %% of %.0f\n",
      kernels.name, size.c_str(), format.c_str(), threads, chunk, piece, 1e3 * decoding.clock,
      1e3 * decoding.processor, rate / 1e9, 100 * rate / most, most / 1e9);
}

}  // namespace
}  // namespace slm

int main(int count, char** arguments) {
  const auto argument = [&](int index, const char* usual) {
    return std::string(count > index ? arguments[index] : usual);
  };
  slm::run(argument(1, "published"), argument(2, "fp32"), std::atoi(argument(3, "1").c_str()),
           std::atoi(argument(4, "0").c_str()),
           std::atoi(argument(5, std::to_string(slm::kPieceBytes / 1024).c_str()).c_str()));
}
