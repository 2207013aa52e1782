// SHA-256 (FIPS 180-4) of a stream of bytes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace slm {

class Sha256 {
 public:
  void add(const void* bytes, std::size_t count);
  // The hash of all that was added, in 64 digits. Nothing can be added after that.
  std::string finish();

 private:
  void process(const std::uint8_t* blocks, std::size_t count);

  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, 64> waiting_{};  // less than a block
  std::uint64_t total_ = 0;
};

}  // namespace slm
