// Drives a fuzz target: with libFuzzer where the compiler has it, else by itself.
//
//   fuzz_bundles [--seconds 60] [--seed 1] [--corpus DIR] [--save FILE] [INPUT …]
//
// First it runs the inputs that were given, or all of the corpus; then it damages seeds and corpus
// at random for so many seconds. The input that is being run lies in the file that `--save` names,
// so that it can be run again after a crash.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "mutation.h"
#include "target.h"

namespace slm::fuzz {
namespace {

struct RemovedAtEnd {
  std::string path;
  RemovedAtEnd() {
    std::random_device device;
    path = (std::filesystem::temp_directory_path() / ("slm-fuzz-" + std::to_string(device())))
               .string();
    std::filesystem::create_directories(path);
  }
  ~RemovedAtEnd() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

}  // namespace

const std::string& working_folder() {
  static const RemovedAtEnd folder;
  return folder.path;
}

void demand(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

}  // namespace slm::fuzz

// Sanitizers take their defaults from here.
extern "C" const char* __asan_default_options() { return "allocator_may_return_null=1"; }

#if defined(SLM_LIBFUZZER)

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t count) {
  slm::fuzz::run(bytes, count);
  return 0;
}

// libFuzzer's own changes know what is new; ours know what hurts. They take turns.
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* bytes, std::size_t count, std::size_t room);
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* bytes, std::size_t count,
                                               std::size_t room, unsigned seed) {
  slm::Random random(seed);
  if (random.integer(0, 1) == 0) return LLVMFuzzerMutate(bytes, count, room);
  const std::vector<std::string>& seeds = slm::fuzz::seeds();
  const std::string& other = seeds[random.bits() % seeds.size()];
  std::string input(reinterpret_cast<const char*>(bytes), count);
  if (random.integer(0, 20) == 0) input = other;
  input = slm::fuzz::mutate(input, other, random);
  input.resize(std::min(input.size(), room));
  std::memcpy(bytes, input.data(), input.size());
  return input.size();
}

#else

namespace slm::fuzz {
namespace {

struct Settings {
  double seconds = 60;
  std::uint64_t seed = 1;
  std::string corpus;
  std::string save;
  std::vector<std::string> inputs;
};

Settings read_settings(int count, char** words) {
  Settings settings;
  for (int index = 1; index < count; ++index) {
    const std::string word = words[index];
    const char* value = index + 1 < count ? words[index + 1] : "";
    if (word == "--seconds") {
      settings.seconds = std::atof(value);
    } else if (word == "--seed") {
      settings.seed = std::strtoull(value, nullptr, 10);
    } else if (word == "--corpus") {
      settings.corpus = value;
    } else if (word == "--save") {
      settings.save = value;
    } else {
      settings.inputs.push_back(word);
      continue;
    }
    ++index;
  }
  return settings;
}

std::string read_input(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void run_saved(const std::string& input, const Settings& settings) {
  if (!settings.save.empty()) std::ofstream(settings.save, std::ios::binary) << input;
  run(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

int drive(const Settings& settings) {
  std::vector<std::string> pool;
  for (const std::string& path : settings.inputs) pool.push_back(read_input(path));
  if (!settings.corpus.empty()) {
    for (const auto& entry : std::filesystem::directory_iterator(settings.corpus)) {
      if (entry.is_regular_file()) pool.push_back(read_input(entry.path()));
    }
  }
  const std::size_t kept = pool.size();
  for (const std::string& input : pool) run_saved(input, settings);
  if (!settings.inputs.empty()) return 0;
  for (const std::string& seed : seeds()) {
    run_saved(seed, settings);
    pool.push_back(seed);
  }
  Random random(settings.seed);
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  long cases = 0;
  for (; elapsed() < settings.seconds; ++cases) {
    const std::string& input = pool[random.bits() % pool.size()];
    run_saved(mutate(input, pool[random.bits() % pool.size()], random), settings);
  }
  std::printf("%zu kept inputs, %zu seeds, %ld damaged ones in %.0f s\n", kept, seeds().size(),
              cases, elapsed());
  return 0;
}

}  // namespace
}  // namespace slm::fuzz

int main(int count, char** words) {
  return slm::fuzz::drive(slm::fuzz::read_settings(count, words));
}

#endif
