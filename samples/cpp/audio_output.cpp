// Writing 16-bit PCM, in a WAV file or bare.
#include "audio_output.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#endif

namespace {

constexpr float kPeak = 32767.0f;
constexpr std::uint32_t kHeaderBytes = 44;

void append(std::vector<std::uint8_t>& bytes, std::uint32_t value, int count) {
  for (int index = 0; index < count; ++index) {
    bytes.push_back(static_cast<std::uint8_t>(value >> 8 * index));
  }
}

void append(std::vector<std::uint8_t>& bytes, const std::string& text) {
  bytes.insert(bytes.end(), text.begin(), text.end());
}

}  // namespace

AudioOutput::AudioOutput(const std::string& path, int sample_rate_hz)
    : file_(path == "-" ? stdout : std::fopen(path.c_str(), "wb")),
      path_(path),
      sample_rate_hz_(sample_rate_hz),
      is_raw_(path == "-") {
  if (file_ == nullptr) throw std::runtime_error(path + ": cannot be written; choose another file");
#if defined(_WIN32)
  if (is_raw_) _setmode(_fileno(stdout), _O_BINARY);
#endif
  if (!is_raw_) write_header();
}

AudioOutput::~AudioOutput() {
  if (!is_raw_ && file_ != nullptr) std::fclose(file_);
}

void AudioOutput::write_header() {
  const auto rate = static_cast<std::uint32_t>(sample_rate_hz_);
  const auto data = static_cast<std::uint32_t>(std::min<std::size_t>(2 * samples_, 0xFFFFFF00u));
  std::vector<std::uint8_t> bytes;
  append(bytes, "RIFF");
  append(bytes, kHeaderBytes - 8 + data, 4);
  append(bytes, "WAVEfmt ");
  append(bytes, 16, 4);  // bytes of what describes the format
  append(bytes, 1, 2);   // PCM
  append(bytes, 1, 2);   // channels
  append(bytes, rate, 4);
  append(bytes, 2 * rate, 4);  // bytes a second
  append(bytes, 2, 2);         // bytes a sample
  append(bytes, 16, 2);        // bits a sample
  append(bytes, "data");
  append(bytes, data, 4);
  write_bytes(bytes);
}

void AudioOutput::write(const float* samples, std::size_t count) {
  std::vector<std::uint8_t> bytes;
  bytes.reserve(2 * count);
  for (std::size_t index = 0; index < count; ++index) {
    const float sample = std::clamp(samples[index], -1.0f, 1.0f) * kPeak;
    append(bytes, static_cast<std::uint32_t>(static_cast<int>(std::nearbyint(sample))), 2);
  }
  samples_ += count;
  write_bytes(bytes);
}

void AudioOutput::write_bytes(const std::vector<std::uint8_t>& bytes) {
  const bool is_written = std::fwrite(bytes.data(), 1, bytes.size(), file_) == bytes.size();
  if (!is_written || std::fflush(file_) != 0) {
    throw std::runtime_error((is_raw_ ? "standard output" : path_) + ": cannot be written");
  }
}

void AudioOutput::finish() {
  if (is_raw_) return;
  if (std::fseek(file_, 0, SEEK_SET) != 0) throw std::runtime_error(path_ + ": cannot be written");
  write_header();
  std::FILE* file = file_;
  file_ = nullptr;
  if (std::fclose(file) != 0) throw std::runtime_error(path_ + ": cannot be written");
}
