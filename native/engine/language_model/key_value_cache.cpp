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
  grown.memory_ = Buffer<std::byte>(grown.bytes());
  if (used > 0) grown.copy(*this, used);
  *this = std::move(grown);
}

void KeyValueCache::copy(const KeyValueCache& other, int positions) {
  const std::size_t panels = count_panels(positions);
  for (int layer = 0; layer < shape_.layers; ++layer) {
    for (int head = 0; head < shape_.heads; ++head) {
      std::memcpy(keys(layer, head), other.keys(layer, head), panels * shape_.key_bytes());
      std::memcpy(values(layer, head), other.values(layer, head), panels * shape_.value_bytes());
    }
  }
}

}  // namespace slm
