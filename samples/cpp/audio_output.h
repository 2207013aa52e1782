// Where the audio goes while it is made: a WAV file, or raw PCM on standard output. 16 bits, mono.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

class AudioOutput {
 public:
  // path: "-" is standard output, without a header. Throws std::runtime_error.
  AudioOutput(const std::string& path, int sample_rate_hz);
  ~AudioOutput();
  AudioOutput(const AudioOutput&) = delete;
  AudioOutput& operator=(const AudioOutput&) = delete;

  // samples: in [-1, 1]; louder ones are clipped.
  void write(const float* samples, std::size_t count);
  // Write the file's length into its header. Without this call the file has none.
  void finish();
  std::size_t samples() const { return samples_; }

 private:
  void write_header();
  void write_bytes(const std::vector<std::uint8_t>& bytes);

  std::FILE* file_;
  std::string path_;
  int sample_rate_hz_;
  bool is_raw_;
  std::size_t samples_ = 0;
};
