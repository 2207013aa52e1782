// Writing error messages into the caller's memory.
#include "api/guard.h"

#include <cstring>
#include <string_view>

#include "weights/utf8.h"

namespace slm {

void write_error(slm_error* error, const char* message) noexcept {
  if (error == nullptr) return;
  std::string_view rest(message);
  std::size_t written = 0;
  // Paths and names from files may hold anything: one line of UTF-8 comes out.
  while (!rest.empty()) {
    const std::size_t length = utf8_length(rest);
    const std::size_t taken = length == 0 ? 1 : length;
    if (written + taken >= sizeof error->message) break;
    const auto first = static_cast<unsigned char>(rest[0]);
    const bool is_shown = length > 1 || (length == 1 && first >= 0x20 && first != 0x7F);
    if (is_shown) {
      std::memcpy(error->message + written, rest.data(), taken);
    } else {
      error->message[written] = '?';
    }
    written += taken;
    rest.remove_prefix(taken);
  }
  error->message[written] = '\0';
}

}  // namespace slm
