// What every test program needs: conditions that must hold, and a count of those that do not.
//
// A test is a function; main returns finish(). A condition that does not hold is printed with its
// line, and the test goes on.
#pragma once

#include <cstdio>
#include <exception>
#include <filesystem>
#include <random>
#include <string>

namespace slm::test {

inline int failures = 0;
inline int checks = 0;

inline void expect(bool holds, const std::string& what, int line = __builtin_LINE()) {
  ++checks;
  if (holds) return;
  ++failures;
  std::fprintf(stderr, "line %d: %s\n", line, what.c_str());
}

// The message of what `body` throws; "" if it throws nothing.
template <typename Body>
std::string message_of(Body&& body) {
  try {
    body();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

// `body` must throw an error whose message holds `part`.
template <typename Body>
void expect_refusal(Body&& body, const std::string& part, int line = __builtin_LINE()) {
  const std::string message = message_of(body);
  expect(!message.empty() && message.find(part) != std::string::npos,
         "should be refused with '" + part + "', was: '" + message + "'", line);
}

// A folder of this process alone, gone at the end.
class TemporaryFolder {
 public:
  TemporaryFolder()
      : path_(std::filesystem::temp_directory_path() /
              ("slm-test-" + std::to_string(std::random_device()()))) {
    std::filesystem::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

// The exit status of a test program.
inline int finish() {
  std::printf("%d of %d checks hold\n", checks - failures, checks);
  return failures == 0 && checks > 0 ? 0 : 1;
}

}  // namespace slm::test
