#include "language_model/decoder_stack.h"

#include <algorithm>

#include "failure.h"

namespace slm {
namespace {

using Layers = std::vector<const DecoderLayer*>;

ProductShape normed_shape(const ModelSizes& sizes, const Layers& layers) {
  ProductShape shape(sizes.hidden_size);
  for (const DecoderLayer* layer : layers) shape.add(layer->qkv).add(layer->gate_up);
  return shape;
}

ProductShape attended_shape(const ModelSizes& sizes, const Layers& layers) {
  ProductShape shape(sizes.query_heads * sizes.head_dim);
  for (const DecoderLayer* layer : layers) shape.add(layer->attention_output);
  return shape;
}

ProductShape product_shape(const ModelSizes& sizes, const Layers& layers) {
  ProductShape shape(sizes.intermediate_size);
  for (const DecoderLayer* layer : layers) shape.add(layer->down);
  return shape;
}

int qkv_outputs(const ModelSizes& sizes) {
  return (sizes.query_heads + 2 * sizes.kv_heads) * sizes.head_dim;
}

constexpr int kAngleValues = 32;  // a cosine takes the time of so many values

// Attentions that can be at work at a time, each with scratch memory of its own.
int attention_pieces(int threads) {
  return threads == 1 ? 1 : Team::kPiecesPerThread * threads;
}

}  // namespace

DecoderLayer::DecoderLayer(const Weights& weights, const ModelSizes& sizes,
                           const std::string& prefix)
    : input_norm(weights.floats(prefix + "input_norm", round_up(sizes.hidden_size, kPanel))),
      qkv(weights.matrix(prefix + "qkv", qkv_outputs(sizes), sizes.hidden_size)),
      attention_output(weights.matrix(prefix + "attention_output", sizes.hidden_size,
                                      sizes.query_heads * sizes.head_dim)),
      mlp_norm(weights.floats(prefix + "mlp_norm", round_up(sizes.hidden_size, kPanel))),
      gate_up(weights.matrix(prefix + "gate_up", 2 * sizes.intermediate_size, sizes.hidden_size)),
      down(weights.matrix(prefix + "down", sizes.hidden_size, sizes.intermediate_size)) {}

DecoderMemory::DecoderMemory(int rows, const ModelSizes& sizes, const Layers& layers)
    : rows_(rows),
      x_stride_(round_up(sizes.hidden_size, kPanel)),
      qkv_stride_(round_up(qkv_outputs(sizes), kPanel)),
      gate_up_stride_(round_up(2 * sizes.intermediate_size, kPanel)),
      group_(sizes.query_heads / sizes.kv_heads),
      x_(static_cast<std::size_t>(rows) * x_stride_),
      normed_(rows, normed_shape(sizes, layers)),
      attended_(rows, attended_shape(sizes, layers)),
      product_(rows, product_shape(sizes, layers)),
      qkv_(static_cast<std::size_t>(rows) * qkv_stride_),
      gate_up_(static_cast<std::size_t>(rows) * gate_up_stride_),
      rotary_(rows, sizes.head_dim) {}

void DecoderMemory::reserve(int positions, int threads) {
  const std::size_t pieces = attention_pieces(threads);
  if (positions <= scratch_positions_) return;
  // Doubled, so that a sequence that grows by single positions rarely comes here.
  const int room = round_up(std::max(positions, 2 * scratch_positions_), kPanel);
  scratch_ = Buffer<float>(pieces * group_ * room);
  scratch_positions_ = room;
}

// One call of `run`: what its steps share.
class DecoderStack::Call {
 public:
  Call(const DecoderStack& decoder, const Team& team, DecoderMemory& memory, int count)
      : sizes_(decoder.sizes_),
        team_(team),
        kernels_(*team.kernels),
        memory_(memory),
        count_(count) {
    team.each(count, kAngleValues * sizes_.head_dim, [&](int row) {
      memory.rotary_.fill(row, memory.rows_[row].position, decoder.frequencies_);
    });
  }

  int count() const { return count_; }
  // Parts that follow are those of the layer with this number.
  void begin_timed(int layer) { laps_ = team_.laps.at(layer); }

  void check_cancelled() const {
    for (int index = 0; index < count_; ++index) {
      const DecoderRow& row = memory_.rows_[index];
      if (row.is_cancelled != nullptr && row.is_cancelled->load(std::memory_order_relaxed)) {
        throw Failure(SLM_CANCELLED, "the sequence was cancelled; close it and open another");
      }
    }
  }

  // Keys, values and queries of all rows; keys and values go into the caches.
  void project(const DecoderLayer& layer, int cache_layer) {
    norm(layer.input_norm, layer.qkv);
    team_.multiply(layer.qkv, memory_.normed_, count_,
                   {memory_.qkv_.data(), memory_.qkv_stride_, false});
    laps_.lap(Timed::qkv);
    // Sixteen positions share lines of the cache, so one thread writes them.
    const int panels = (count_ + kPanel - 1) / kPanel;
    team_.each(panels, std::int64_t{kPanel} * memory_.qkv_stride_, [&](int panel) {
      const int end = std::min(count_, (panel + 1) * kPanel);
      for (int row = panel * kPanel; row < end; ++row) store(row, cache_layer);
    });
    laps_.lap(Timed::attention, 0);
  }

  // What is left to do in the last layer is done for the rows that are wanted.
  void drop_unwanted() {
    int kept = 0;
    for (int row = 0; row < count_; ++row) {
      if (!memory_.rows_[row].is_wanted) continue;
      if (kept < row) {
        std::copy_n(memory_.x(row), memory_.x_stride_, memory_.x(kept));
        std::copy_n(qkv(row), memory_.qkv_stride_, qkv(kept));
        memory_.rows_[kept] = memory_.rows_[row];
      }
      ++kept;
    }
    count_ = kept;
  }

  void attend(const DecoderLayer& layer, int cache_layer);
  void transform(const DecoderLayer& layer);

 private:
  float* qkv(int row) const {
    return memory_.qkv_.data() + static_cast<std::size_t>(row) * memory_.qkv_stride_;
  }

  void norm(const Vector<float>& weight, const Matrix& next) {
    team_.each(count_, sizes_.hidden_size, [&](int row) {
      kernels_.rms_norm(memory_.x(row), weight.data, sizes_.rms_norm_epsilon, sizes_.hidden_size,
                        memory_.normed_.row(row));
      memory_.normed_.encode(kernels_, next, row);
    });
    laps_.lap(Timed::norm);
  }

  void store(int row, int cache_layer) {
    const int dim = sizes_.head_dim;
    const DecoderRow& place = memory_.rows_[row];
    const RotaryTables& rotary = memory_.rotary_;
    float* query = qkv(row);
    float* key = query + sizes_.query_heads * dim;
    const float* value = key + sizes_.kv_heads * dim;
    kernels_.rotate(query, sizes_.query_heads, dim, rotary.query_cosines(row),
                    rotary.query_sines(row));
    kernels_.rotate(key, sizes_.kv_heads, dim, rotary.key_cosines(row), rotary.key_sines(row));
    for (int head = 0; head < sizes_.kv_heads; ++head) {
      kernels_.store_position(key + head * dim, value + head * dim, dim, place.position,
                              place.cache->format(), place.cache->keys(cache_layer, head),
                              place.cache->values(cache_layer, head));
    }
  }

  const ModelSizes& sizes_;
  const Team& team_;
  const Kernels& kernels_;
  DecoderMemory& memory_;
  int count_;
  Laps laps_;
};

// Items are (row, key head, part of its query heads). A group of query heads is divided only if
// there are fewer items than threads, because each part reads the keys and values again.
void DecoderStack::Call::attend(const DecoderLayer& layer, int cache_layer) {
  const int dim = sizes_.head_dim;
  const int whole = count_ * sizes_.kv_heads;
  const int parts = std::min(memory_.group_, (team_.threads + whole - 1) / whole);
  int longest = 0;
  for (int row = 0; row < count_; ++row) {
    longest = std::max(longest, memory_.rows_[row].position + 1);
  }
  const std::int64_t values = std::int64_t{longest} * dim * memory_.group_ / parts;
  const int pieces = team_.count_pieces(whole * parts, values);
  team_.run(pieces, [&](int piece) {
    const auto [first, last] = Team::piece_of(whole * parts, pieces, piece);
    float* scratch = memory_.scratch_.data() +
                     static_cast<std::size_t>(piece) * memory_.group_ * memory_.scratch_positions_;
    for (int item = first; item < last; ++item) {
      const int part = item % parts;
      const int head = item / parts % sizes_.kv_heads;
      const int row = item / parts / sizes_.kv_heads;
      const auto [begin, end] = Team::piece_of(memory_.group_, parts, part);
      const std::ptrdiff_t first_query = static_cast<std::ptrdiff_t>(head) * memory_.group_ + begin;
      const KeyValueCache& cache = *memory_.rows_[row].cache;
      kernels_.attend({qkv(row) + first_query * dim, dim, cache.keys(cache_layer, head),
                       cache.values(cache_layer, head),
                       memory_.attended_.row(row) + first_query * dim, dim, scratch, end - begin,
                       dim, memory_.rows_[row].position + 1, cache.format()});
    }
  });
  laps_.lap(Timed::attention);
  team_.project(layer.attention_output, memory_.attended_, count_,
                {memory_.x_.data(), memory_.x_stride_, true});
  laps_.lap(Timed::output);
}

void DecoderStack::Call::transform(const DecoderLayer& layer) {
  norm(layer.mlp_norm, layer.gate_up);
  team_.multiply(layer.gate_up, memory_.normed_, count_,
                 {memory_.gate_up_.data(), memory_.gate_up_stride_, false});
  laps_.lap(Timed::gate_up);
  team_.each(count_, memory_.gate_up_stride_, [&](int row) {
    const float* gate_up =
        memory_.gate_up_.data() + static_cast<std::size_t>(row) * memory_.gate_up_stride_;
    kernels_.silu_product(gate_up, sizes_.intermediate_size, memory_.product_.row(row));
    memory_.product_.encode(kernels_, layer.down, row);
  });
  laps_.lap(Timed::activation);
  team_.multiply(layer.down, memory_.product_, count_,
                 {memory_.x_.data(), memory_.x_stride_, true});
  laps_.lap(Timed::down);
}

DecoderStack::DecoderStack(const Weights& weights, const ModelSizes& sizes,
                           const std::string& prefix, int count, int first_cache_layer,
                           int first_timed)
    : sizes_(sizes),
      frequencies_(weights.floats("rotary.frequencies", sizes.head_dim / 2)),
      first_cache_layer_(first_cache_layer),
      first_timed_(first_timed) {
  layers_.reserve(count);
  for (int layer = 0; layer < count; ++layer) {
    layers_.emplace_back(weights, sizes, prefix + std::to_string(layer) + ".");
  }
}

std::int64_t DecoderStack::bytes() const {
  std::int64_t sum = 0;
  for (const DecoderLayer& layer : layers_) {
    for (const Matrix* matrix :
         {&layer.qkv, &layer.attention_output, &layer.gate_up, &layer.down}) {
      sum += bytes_of(*matrix);
    }
    sum += static_cast<std::int64_t>(layer.input_norm.size + layer.mlp_norm.size) * sizeof(float);
  }
  return sum;
}

int DecoderStack::run(const Team& team, DecoderMemory& memory, int count) const {
  Call call(*this, team, memory, count);
  team.laps.lap(Timed::rest, 0);
  const int layers = static_cast<int>(layers_.size());
  for (int layer = 0; layer < layers; ++layer) {
    call.check_cancelled();
    call.begin_timed(first_timed_ + layer);
    call.project(layers_[layer], first_cache_layer_ + layer);
    if (layer == layers - 1) call.drop_unwanted();
    if (call.count() == 0) break;
    call.attend(layers_[layer], first_cache_layer_ + layer);
    call.transform(layers_[layer]);
  }
  return call.count();
}

}  // namespace slm
