// The parts of samples/cpp for tests: tokens of many texts, and random numbers.
//
//   driver tokens FILE < texts    a text a line, its bytes in hexadecimal digits; out: id:begin:end
//   … driver noise SEED SENTENCE COUNT
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

#include "failure.h"
#include "manifest.h"
#include "noise.h"
#include "tokenizer.h"

namespace {

int print_tokens(const char* path) {
  const Tokenizer tokenizer(read_json(path));
  for (std::string line; std::getline(std::cin, line);) {
    std::string text;
    for (std::size_t at = 0; at + 1 < line.size(); at += 2) {
      text += static_cast<char>(std::strtol(line.substr(at, 2).c_str(), nullptr, 16));
    }
    for (const Token& token : tokenizer.encode(text)) {
      std::printf("%d:%zu:%zu ", token.id, token.begin, token.end);
    }
    std::printf("\n");
  }
  return 0;
}

int print_noise(char** words) {
  Noise noise(std::strtoull(words[0], nullptr, 10),
              static_cast<std::uint32_t>(std::strtoul(words[1], nullptr, 10)));
  for (long left = std::strtol(words[2], nullptr, 10); left > 0; --left) {
    std::printf("%a\n", static_cast<double>(noise.next()));
  }
  return 0;
}

}  // namespace

int main(int count, char** words) {
  try {
    if (count == 3 && std::string(words[1]) == "tokens") return print_tokens(words[2]);
    if (count == 5 && std::string(words[1]) == "noise") return print_noise(words + 2);
  } catch (const slm::Failure& failure) {
    std::fprintf(stderr, "%s\n", failure.what());
  }
  return 2;
}
