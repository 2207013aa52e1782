// Reading the command line.
#include "options.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace {

[[noreturn]] void refuse(const std::string& what) { throw std::runtime_error(what); }

template <typename Number>
Number to_integer(const std::string& option, const std::string& word, Number least) {
  Number number = 0;
  const char* end = word.data() + word.size();
  const auto result = std::from_chars(word.data(), end, number);
  if (result.ec != std::errc() || result.ptr != end || number < least) {
    refuse(option + " " + word + ": give a whole number of " + std::to_string(least) + " or more");
  }
  return number;
}

float to_float(const std::string& option, const std::string& word, float least, float most) {
  std::size_t read = 0;
  float number = std::numeric_limits<float>::quiet_NaN();
  try {
    number = std::stof(word, &read);
  } catch (const std::logic_error&) {
    read = 0;
  }
  if (read == 0 || read != word.size() || !(number >= least && number <= most)) {
    refuse(option + " " + word + ": out of range");
  }
  return number;
}

std::vector<std::int32_t> to_tokens(const std::string& word) {
  std::vector<std::int32_t> tokens;
  for (std::size_t begin = 0; begin <= word.size();) {
    const std::size_t comma = std::min(word.find(',', begin), word.size());
    tokens.push_back(to_integer<std::int32_t>("--tokens", word.substr(begin, comma - begin), 0));
    begin = comma + 1;
  }
  return tokens;
}

void set_option(Options& options, const std::string& name, const std::string& value) {
  if (name == "-o") {
    options.output = value;
  } else if (name == "--tokens") {
    options.tokens = to_tokens(value);
  } else if (name == "--voice") {
    options.voice = value;
  } else if (name == "--seed") {
    options.seed = static_cast<std::uint64_t>(to_integer<std::int64_t>(name, value, 0));
  } else if (name == "--temperature") {
    options.temperature = to_float(name, value, 0.01f, 100.0f);
  } else if (name == "--top-k") {
    options.top_k = to_integer(name, value, 1);
  } else if (name == "--top-p") {
    options.top_p = to_float(name, value, std::numeric_limits<float>::denorm_min(), 1.0f);
  } else if (name == "--repetition-penalty") {
    options.repetition_penalty = to_float(name, value, 1.0f, 100.0f);
  } else if (name == "--max-steps") {
    options.max_steps = to_integer(name, value, 1);
  } else if (name == "--look-ahead") {
    options.look_ahead = to_integer(name, value, 0);
  } else if (name == "--threads") {
    options.threads = to_integer(name, value, 0);
  } else {
    refuse("there is no option " + name);
  }
}

void check_options(const Options& options, std::size_t words) {
  const std::size_t wanted = options.tokens.empty() ? 2 : 1;
  if (words != wanted) refuse("give a bundle, and a text in quotes or --tokens");
  const bool has_drawing = options.temperature || options.top_k || options.top_p || options.seed;
  if (options.is_greedy && has_drawing) {
    refuse("--greedy draws nothing: leave out --temperature, --top-k, --top-p and --seed");
  }
  if (options.look_ahead && options.output != "-") {
    refuse("--look-ahead is for listeners: leave out -o, or --look-ahead");
  }
}

}  // namespace

Options parse_options(int count, char** words) {
  Options options;
  std::vector<std::string> plain;
  for (int index = 1; index < count; ++index) {
    const std::string word = words[index];
    if (word == "--greedy") {
      options.is_greedy = true;
    } else if (word == "--print-tokens") {
      options.only_tokens = true;
    } else if (word.size() > 1 && word[0] == '-') {
      if (index + 1 == count) refuse(word + " needs a value");
      set_option(options, word, words[++index]);
    } else {
      plain.push_back(word);
    }
  }
  check_options(options, plain.size());
  options.bundle = plain[0];
  if (plain.size() > 1) options.text = plain[1];
  return options;
}

slm_sampling apply_sampling(const Options& options, slm_sampling settings) {
  if (options.is_greedy) {
    settings.temperature = 1.0f;
    settings.top_k = 1;
    settings.top_p = 1.0f;
  }
  settings.temperature = options.temperature.value_or(settings.temperature);
  settings.top_k = options.top_k.value_or(settings.top_k);
  settings.top_p = options.top_p.value_or(settings.top_p);
  settings.repetition_penalty = options.repetition_penalty.value_or(settings.repetition_penalty);
  return settings;
}
