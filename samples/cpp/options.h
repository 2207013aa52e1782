// The command line of speak.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "slm.h"

struct Options {
  std::string bundle;
  std::string text;
  std::vector<std::int32_t> tokens;  // instead of a text
  std::string output = "-";
  std::optional<std::string> voice;  // default: the bundle's
  std::optional<std::uint64_t> seed;
  bool is_greedy = false;
  std::optional<float> temperature;
  std::optional<int> top_k;
  std::optional<float> top_p;
  std::optional<float> repetition_penalty;
  std::optional<int> max_steps;
  std::optional<int> look_ahead;  // frames; default: all that the audio depends on
  int threads = 0;
  bool only_tokens = false;  // print them and end
};

inline constexpr const char* kUsage =
    "usage: speak BUNDLE TEXT [options]\n"
    "       speak BUNDLE --tokens 1,2,3 [options]\n"
    "  -o FILE.wav              write a WAV file; without it, raw PCM goes to standard output\n"
    "  --tokens IDS             the whole prompt as token ids, instead of a text\n"
    "  --print-tokens           print the prompt's token ids and end\n"
    "  --voice NAME             a voice of the bundle\n"
    "  --seed N                 the same seed gives the same audio\n"
    "  --greedy                 always take the most likely code\n"
    "  --temperature T, --top-k K, --top-p P, --repetition-penalty R\n"
    "                           how codes are drawn; default: as the bundle says\n"
    "  --max-steps N            at most so many steps\n"
    "  --look-ahead N           the first audio waits for N later frames instead of all that it\n"
    "                           depends on, and its end is estimated; for raw PCM\n"
    "  --threads N              at most so many; default: as many as processors are free\n";

// Throws std::runtime_error about what is wrong with the command line.
Options parse_options(int count, char** words);

// The bundle's settings, with those of the command line.
slm_sampling apply_sampling(const Options& options, slm_sampling settings);
