// The kinds of damage.
#include "mutation.h"

#include <algorithm>
#include <cstring>

namespace slm::fuzz {
namespace {

constexpr const char* kNumbers[] = {"0",
                                    "1",
                                    "-1",
                                    "2",
                                    "3",
                                    "15",
                                    "16",
                                    "17",
                                    "64",
                                    "255",
                                    "4096",
                                    "65536",
                                    "1048576",
                                    "2147483647",
                                    "2147483648",
                                    "4294967296",
                                    "9007199254740992",
                                    "9223372036854775807",
                                    "18446744073709551616",
                                    "1e999",
                                    "0.5",
                                    "null",
                                    "\"a\"",
                                    "[]",
                                    "{}",
                                    "true"};
constexpr std::uint32_t kWords[] = {0x7f800000, 0xff800000, 0x7fc00000, 0x7f7fffff, 0x00000001,
                                    0xffffffff, 0x80000000, 0x7fffffff, 0x4f000000, 0x00000000};

std::size_t below(Random& random, std::size_t bound) {
  return bound == 0 ? 0 : (std::uint64_t{random.bits()} << 16 ^ random.bits()) % bound;
}

bool is_digit(char letter) { return letter >= '0' && letter <= '9'; }

void change_number(std::string& bytes, Random& random) {
  const std::size_t from = below(random, bytes.size());
  const auto digit =
      std::find_if(bytes.begin() + static_cast<std::ptrdiff_t>(from), bytes.end(), is_digit);
  const auto begin = static_cast<std::size_t>(digit - bytes.begin());
  const auto end =
      static_cast<std::size_t>(std::find_if_not(digit, bytes.end(), is_digit) - bytes.begin());
  if (begin == end) return;
  const int kind = random.integer(0, 2);
  std::string number = kNumbers[below(random, std::size(kNumbers))];
  if (kind > 0 && end - begin < 18) {  // a neighbour of what is there
    const long long value = std::stoll(bytes.substr(begin, end - begin));
    number = std::to_string(kind == 1 ? value + random.integer(-2, 2) : value * 2);
  }
  bytes.replace(begin, end - begin, number);
}

void change_word(std::string& bytes, Random& random) {
  if (bytes.size() < 4) return;
  const std::size_t at = below(random, bytes.size() - 3);
  const std::uint32_t word = kWords[below(random, std::size(kWords))];
  std::memcpy(bytes.data() + at, &word, sizeof word);
}

void change_piece(std::string& bytes, const std::string& other, Random& random) {
  const std::size_t begin = below(random, bytes.size());
  const std::size_t size = below(random, std::min<std::size_t>(bytes.size() - begin, 200)) + 1;
  switch (random.integer(0, 2)) {
    case 0:
      bytes.erase(begin, size);
      break;
    case 1:
      bytes.insert(below(random, bytes.size()), bytes.substr(begin, size));
      break;
    default:
      if (!other.empty()) {
        bytes.replace(begin, size, other.substr(below(random, other.size()), size));
      }
  }
}

void change(std::string& bytes, const std::string& other, Random& random) {
  if (bytes.empty()) {
    bytes += static_cast<char>(random.bits());
    return;
  }
  switch (random.integer(0, 9)) {
    case 0:
      bytes[below(random, bytes.size())] ^= static_cast<char>(1 << random.integer(0, 7));
      break;
    case 1:
      bytes[below(random, bytes.size())] = static_cast<char>(random.bits());
      break;
    case 2:
      bytes.resize(below(random, bytes.size()));
      break;
    case 3:
      change_word(bytes, random);
      break;
    case 4:
    case 5:
      change_piece(bytes, other, random);
      break;
    default:
      change_number(bytes, random);
  }
}

}  // namespace

std::string mutate(std::string bytes, const std::string& other, Random& random) {
  for (int left = random.integer(1, 4); left > 0; --left) change(bytes, other, random);
  return bytes;
}

}  // namespace slm::fuzz
