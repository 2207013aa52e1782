#include "language_model/key_value_cache.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/kernels.h"

namespace slm {
namespace {

constexpr int kLeastRoom = 64;

// Half as much again as there was, so that a sequence that grows by single positions is copied a
// few times only.
int grown_room(int room, int positions, int most) {
  const int wanted = std::max({positions, room + room / 2, kLeastRoom});
  return round_up(std::max(positions, std::min(wanted, most)), kPanel);
}

}  // namespace

void KeyValueCache::reserve(int positions, int used, int most) {
  if (positions <= room_) return;
  KeyValueCache grown(shape_);
  // The first room is what was asked for: whoever opens a sequence knows how long it can become.
  grown.room_ = room_ == 0 ? round_up(positions, kPanel) : grown_room(room_, positions, most);
  const std::size_t parts = std::size_t{2} * shape_.layers * shape_.heads;
  grown.memory_ = Buffer<std::byte>(parts * part_bytes(grown.room_));
  const std::size_t kept = part_bytes(round_up(used, kPanel));  // keys come in panels
  for (std::size_t part = 0; kept > 0 && part < parts; ++part) {
    std::memcpy(grown.memory_.data() + part * part_bytes(grown.room_),
                memory_.data() + part * part_bytes(room_), kept);
  }
  *this = std::move(grown);
}

}  // namespace slm
