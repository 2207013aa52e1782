// language_model/: sequences of tiny models are read and stepped in every company, and must have
// the same bits. One model is computed again in double precision.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <set>
#include <thread>

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "expect.h"
#include "failure.h"
#include "language_model/buffer.h"
#include "tiny_model.h"

namespace slm::test {
namespace {

constexpr slm_sampling kSampling{0.9f, 12, 0.95f, 1.3f};
constexpr int kSteps = 9;

struct Kind {
  const char* name;
  TinyModel model;
};

std::vector<Kind> kinds() {
  using Form = WeightsWriter::Form;
  TinyModel linear, mlp, transformer, next_token, shortened, whole, coded;
  mlp.kind = HeadKind::mlp;
  mlp.form = Form{Format::int8, 32, false, true};
  mlp.cache = "float16";
  transformer.kind = HeadKind::transformer;
  transformer.form = Form{Format::int4, 32, false, false};
  transformer.cache = "float16";
  next_token.kind = HeadKind::lm_head;
  next_token.form = Form{Format::bf16, 0, false, false};
  shortened.form = Form{Format::fp16, 0, false, false};
  shortened.kind = HeadKind::transformer;
  whole.form = Form{Format::int8, 128, true, false};
  coded.kind = HeadKind::transformer;
  coded.form = Form{Format::int8, 32, false, false};
  coded.cache = "int8";
  linear.has_text_head = whole.has_text_head = true;
  return {{"linear fp32", linear},
          {"mlp int8", mlp},
          {"transformer int4", transformer},
          {"next-token bf16", next_token},
          {"transformer fp16", shortened},
          {"linear int8, one scale", whole},
          {"transformer int8, cache int8", coded}};
}

// What one utterance brings: codes and hidden states of all steps.
struct Spoken {
  std::vector<std::int32_t> codes;
  std::vector<float> hidden;

  bool operator==(const Spoken& other) const {
    return codes == other.codes && hidden.size() == other.hidden.size() &&
           std::memcmp(hidden.data(), other.hidden.data(), hidden.size() * sizeof(float)) == 0;
  }
};

// One utterance: its prompt and its noise, whoever speaks beside it.
struct Utterance {
  std::vector<float> prompt;
  std::vector<float> noise;  // [steps][draws]
  int step = 0;
  Spoken spoken;
  std::unique_ptr<Sequence> sequence;

  Utterance(const LanguageModel& model, int number, int positions) {
    Random random(100 + number);
    prompt = random.reals(static_cast<std::size_t>(positions) * model.sizes().hidden_size);
    noise = random.reals(static_cast<std::size_t>(kSteps) * model.sizes().heads, 0, 0.999f);
  }
  std::size_t positions(const LanguageModel& model) const {
    return prompt.size() / model.sizes().hidden_size;
  }
  void begin(const LanguageModel& model, std::int64_t room) {
    sequence = model.open(room);
    model.read(*sequence, prompt.data(), positions(model));
  }
  void keep(const LanguageModel& model, const std::int32_t* codes) {
    const int draws = model.sizes().heads;
    spoken.codes.insert(spoken.codes.end(), codes, codes + draws);
    const std::size_t at = spoken.hidden.size();
    spoken.hidden.resize(at + model.sizes().hidden_size);
    model.copy_hidden(*sequence, spoken.hidden.data() + at);
    ++step;
  }
};

void step_together(const LanguageModel& model, const std::vector<Utterance*>& rows) {
  const std::size_t draws = model.sizes().heads;
  std::vector<Sequence*> sequences;
  std::vector<float> noise;
  for (const Utterance* row : rows) {
    sequences.push_back(row->sequence.get());
    noise.insert(noise.end(), row->noise.begin() + row->step * draws,
                 row->noise.begin() + (row->step + 1) * draws);
  }
  const std::vector<slm_sampling> sampling(rows.size(), kSampling);
  std::vector<std::int32_t> codes(rows.size() * draws);
  std::vector<slm_drawn> drawn(rows.size());
  model.step(sequences, sampling.data(), noise.data(), codes.data(), drawn.data());
  for (std::size_t row = 0; row < rows.size(); ++row) {
    rows[row]->keep(model, codes.data() + row * draws);
  }
}

Spoken speak_alone(const LanguageModel& model, int number, int positions, std::int64_t room = 1) {
  Utterance utterance(model, number, positions);
  utterance.begin(model, room);
  while (utterance.step < kSteps) step_together(model, {&utterance});
  return utterance.spoken;
}

int length_of(int number) {
  return 3 + 29 * number % 90;
}

// Many sequences join one by one, and leave when they are done.
void test_company(const Kind& kind) {
  const OpenedModel opened(kind.model);
  const LanguageModel model = opened.open();
  constexpr int kCompany = 70;  // more than a block of rows
  std::vector<std::unique_ptr<Utterance>> all;
  std::vector<Utterance*> present;
  for (int number = 0; number < kCompany; ++number) {
    all.push_back(std::make_unique<Utterance>(model, number, length_of(number)));
  }
  std::size_t joined = 0;
  while (joined < all.size() || !present.empty()) {
    const std::size_t some = joined == 0 ? kCompany - 5 : 1;
    for (std::size_t more = 0; more < some && joined < all.size(); ++more, ++joined) {
      all[joined]->begin(model, 1 + static_cast<int>(joined));
      present.insert(present.begin() + joined / 2 % (present.size() + 1), all[joined].get());
    }
    step_together(model, present);
    std::erase_if(present, [](const Utterance* row) { return row->step == kSteps; });
  }
  std::set<std::vector<std::int32_t>> different;
  for (int number = 0; number < kCompany; ++number) {
    expect(all[number]->spoken == speak_alone(model, number, length_of(number)),
           std::string(kind.name) + ": alone and in company");
    different.insert(all[number]->spoken.codes);
  }
  expect(different.size() > kCompany / 2, std::string(kind.name) + ": utterances differ");
}

// A prompt in one call, one position at a time, and in uneven parts.
void test_parts(const Kind& kind) {
  const OpenedModel opened(kind.model);
  const LanguageModel model = opened.open();
  constexpr int kPositions = 150;
  const Spoken whole = speak_alone(model, 1, kPositions, 400);
  for (const int part : {1, 7, 64, 149}) {
    Utterance utterance(model, 1, kPositions);
    utterance.sequence = model.open(1);
    for (int first = 0; first < kPositions; first += part) {
      const std::size_t count = std::min(part, kPositions - first);
      model.read(*utterance.sequence, utterance.prompt.data() + first * model.sizes().hidden_size,
                 count);
    }
    while (utterance.step < kSteps) step_together(model, {&utterance});
    expect(utterance.spoken == whole, std::string(kind.name) + ": parts of a prompt");
  }
}

void test_threads() {
  for (Kind kind : kinds()) {
    kind.model.head_dim = 32;  // large enough to be shared out
    kind.model.intermediate = 336;
    kind.model.streams = {301, 97, 200};
    const OpenedModel opened(kind.model);
    const LanguageModel one = opened.open(1), several = opened.open(3);
    for (const int positions : {5, 130}) {
      expect(speak_alone(one, 3, positions) == speak_alone(several, 3, positions),
             std::string(kind.name) + ": one thread and several");
    }
  }
}

// Weights of 16 bits are widened exactly: the model speaks as if they were stored in float32.
void test_short_weights() {
  for (const HeadKind head_kind : {HeadKind::linear, HeadKind::transformer}) {
    for (const Format format : {Format::bf16, Format::fp16}) {
      TinyModel tiny;
      tiny.kind = head_kind;
      tiny.head_dim = 32;
      const OpenedModel wide(tiny);
      tiny.form.format = format;
      const OpenedModel opened(tiny);
      for (int index = 0; index < usable_kernels().count; ++index) {
        const char* name = usable_kernels().tables[index]->name;
        const LanguageModel model = opened.open(1, name), exact = wide.open(1, name);
        expect(speak_alone(model, 2, 40) == speak_alone(exact, 2, 40),
               std::string("weights in 16 and in 32 bits: ") + name);
      }
    }
  }
}

// A step of a linear model reads its matrices' codes and scales and a few vectors.
void test_step_bytes() {
  const auto bytes = [](Format format, int block) {
    TinyModel tiny;
    tiny.head_dim = 32;
    tiny.intermediate = 128;
    tiny.form = WeightsWriter::Form{format, block, block > 0, false};
    return OpenedModel(tiny).open().step_bytes();
  };
  const std::int64_t wide = bytes(Format::fp32, 0), halves = bytes(Format::bf16, 0);
  const std::int64_t saved = wide - halves;  // half of the codes' 32 bits
  expect(bytes(Format::fp16, 0) == halves, "bytes of fp16");
  const std::int64_t int8 = bytes(Format::int8, 128), int4 = bytes(Format::int4, 128);
  expect(4 * (int8 - int4) == saved, "bytes of int4");
  expect(int8 > halves - saved / 2 && int8 < halves - saved / 2 + saved / 8, "bytes of int8");
}

void test_kernels() {
  for (const Kind& kind : kinds()) {
    const OpenedModel opened(kind.model);
    const Spoken expected = speak_alone(opened.open(1, "portable"), 2, 40);
    for (int index = 0; index < usable_kernels().count; ++index) {
      const char* name = usable_kernels().tables[index]->name;
      expect(speak_alone(opened.open(1, name), 2, 40).codes == expected.codes,
             std::string(kind.name) + ": portable kernels and " + name);
    }
  }
}

slm_status status_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Failure& failure) {
    return failure.status();
  }
  return SLM_OK;
}

// Whatever fails, the sequences of the call go on as if it had not been tried.
void test_failures(const Kind& kind) {
  TinyModel tiny = kind.model;
  tiny.max_positions = 40;
  const OpenedModel opened(tiny);
  const LanguageModel model = opened.open();
  const std::string name = kind.name;
  Utterance full(model, 1, 39), other(model, 2, 12), cancelled(model, 3, 5), unread(model, 4, 1);
  for (Utterance* row : {&full, &other, &cancelled}) row->begin(model, 1);
  unread.sequence = model.open(1);
  step_together(model, {&full, &other});
  step_together(model, {&full, &other});
  expect(status_of([&] { step_together(model, {&other, &full}); }) == SLM_NO_ROOM,
         name + ": no room for a step");
  expect(status_of([&] { model.read(*full.sequence, full.prompt.data(), 1); }) == SLM_NO_ROOM,
         name + ": no room to read");
  cancelled.sequence->cancel();
  expect(status_of([&] { step_together(model, {&other, &cancelled}); }) == SLM_CANCELLED,
         name + ": cancelled step");
  expect(
      status_of([&] { model.read(*cancelled.sequence, other.prompt.data(), 1); }) == SLM_CANCELLED,
      name + ": cancelled read");
  expect(status_of([&] { step_together(model, {&other, &other}); }) == SLM_BAD_ARGUMENT,
         name + ": twice the same");
  expect(status_of([&] { step_together(model, {&other, &unread}); }) == SLM_BAD_ARGUMENT,
         name + ": nothing read");
  while (other.step < kSteps) step_together(model, {&other});
  expect(other.spoken == speak_alone(model, 2, 12), name + ": failures change nothing");
}

void test_cache_names() {
  TinyModel tiny;
  for (const char* name : {"int4", "fp16", ""}) {
    tiny.cache = name;
    expect(status_of([&] { const OpenedModel opened(tiny); }) == SLM_BAD_BUNDLE,
           std::string("a cache in '") + name + "'");
  }
}

// Positions that a layer of the backbone has computed.
std::int64_t count_calls(const LanguageModel& model) {
  std::int64_t calls = 0;
  model.read_times()->take([&](const char* layer, const char* part, const PartSum& sum) {
    if (std::string(layer) == "0" && std::string(part) == "qkv") calls += sum.calls;
  });
  return calls;
}

// A prompt that begins with a prefix has the same bits, and the prefix is not computed again.
void test_prefixes(const Kind& kind) {
  const OpenedModel opened(kind.model);
  const LanguageModel plain = opened.open();
  LanguageModel model = opened.open(1, nullptr, true);
  const std::size_t width = model.sizes().hidden_size;
  const Utterance whole(model, 4, 90);
  for (const std::size_t positions : {std::size_t{3}, std::size_t{70}, std::size_t{37}}) {
    model.keep_prefix({whole.prompt.begin(), whole.prompt.begin() + positions * width});
  }
  const std::string name = kind.name;
  expect(count_calls(model) == 0, name + ": keeping prefixes is no reading");
  for (const int positions : {2, 3, 20, 37, 38, 70, 90}) {
    expect(speak_alone(model, 4, positions) == speak_alone(plain, 4, positions),
           name + ": a prompt of " + std::to_string(positions) + " that begins with a prefix");
  }
  expect(speak_alone(model, 5, 90) == speak_alone(plain, 5, 90), name + ": another prompt");
  count_calls(model);
  const auto calls = [&](int positions) {
    model.read(*model.open(1), whole.prompt.data(), positions);
    return count_calls(model);
  };
  expect(calls(70) == 0, name + ": a prefix is not computed again");
  expect(calls(90) == 1 && calls(69) == 1 && calls(2) == 1, name + ": what is behind it is");
}

// A thread cancels what another reads.
void test_cancelling() {
  TinyModel tiny;
  tiny.max_positions = 20'000;
  tiny.head_dim = 32;
  const OpenedModel opened(tiny);
  const LanguageModel model = opened.open();
  const std::unique_ptr<Sequence> sequence = model.open(1);
  const std::vector<float> prompt = Random(5).reals(20'000u * model.sizes().hidden_size);
  std::atomic<slm_status> status{SLM_OK};
  std::thread reader(
      [&] { status = status_of([&] { model.read(*sequence, prompt.data(), 20'000); }); });
  sequence->cancel();
  reader.join();
  expect(status == SLM_CANCELLED, "reading ends when it is cancelled");
}

// Text first, then speech in the same sequence, is what reading all of it at once gives; what was
// drawn before is read before the text that follows.
void test_text(const Kind& kind) {
  const OpenedModel opened(kind.model);
  const LanguageModel model = opened.open();
  const int width = model.sizes().hidden_size;
  Utterance talk(model, 6, 20);
  talk.begin(model, 1);
  step_together(model, {&talk});
  const std::vector<float> text = Random(8).reals(std::size_t{3} * width);
  for (int token = 0; token < 3; ++token) {
    if (model.sizes().has_text_head()) {
      const int greedy = model.write(*talk.sequence, {1, 1, 1, 1}, 0.5f);
      const int again = model.write(*talk.sequence, {1, 1, 1, 1}, 0.9f);
      expect(greedy == again && greedy % 3 != 0, std::string(kind.name) + ": a token of text");
    }
    model.read(*talk.sequence, text.data() + token * width, 1);
  }
  step_together(model, {&talk});
  Utterance together(model, 6, 20);
  together.begin(model, 1);
  step_together(model, {&together});
  model.read(*together.sequence, text.data(), 3);
  step_together(model, {&together});
  expect(talk.spoken == together.spoken, std::string(kind.name) + ": text between speech");
}

// The model with linear heads in double precision, all positions at once.
class Reference {
 public:
  using Rows = std::vector<std::vector<double>>;

  explicit Reference(const OpenedModel& opened) : opened_(opened), tiny_(opened.tiny) {}

  Rows run(Rows x) const {
    for (int layer = 0; layer < tiny_.layers; ++layer) {
      const std::string prefix = "layer." + std::to_string(layer) + ".";
      const Rows qkv = multiply(prefix + "qkv", norm(x, prefix + "input_norm"));
      add(x, multiply(prefix + "attention_output", attend(qkv)));
      Rows gate_up = multiply(prefix + "gate_up", norm(x, prefix + "mlp_norm"));
      for (std::vector<double>& row : gate_up) {
        for (int index = 0; index < tiny_.intermediate; ++index) {
          row[index] *= row[tiny_.intermediate + index] / (1 + std::exp(-row[index]));
        }
        row.resize(tiny_.intermediate);
      }
      add(x, multiply(prefix + "down", gate_up));
    }
    return norm(x, "final_norm");
  }

 private:
  Rows multiply(const std::string& name, const Rows& x) const {
    const std::vector<float>& weight = opened_.writer.plain.at(name);
    const auto bias = opened_.writer.vectors.find(name + ".bias");
    const std::size_t inputs = x[0].size(), outputs = weight.size() / inputs;
    Rows y(x.size(), std::vector<double>(outputs, 0));
    for (std::size_t row = 0; row < x.size(); ++row) {
      for (std::size_t n = 0; n < outputs; ++n) {
        if (bias != opened_.writer.vectors.end()) y[row][n] = bias->second[n];
        for (std::size_t k = 0; k < inputs; ++k) y[row][n] += x[row][k] * weight[n * inputs + k];
      }
    }
    return y;
  }

  Rows norm(const Rows& x, const std::string& name) const {
    const std::vector<float>& weight = opened_.writer.vectors.at(name);
    Rows y = x;
    for (std::vector<double>& row : y) {
      double squares = 0;
      for (const double value : row) squares += value * value;
      const double scale = 1 / std::sqrt(squares / static_cast<double>(row.size()) + 1e-6);
      for (std::size_t index = 0; index < row.size(); ++index) row[index] *= scale * weight[index];
    }
    return y;
  }

  static void add(Rows& x, const Rows& y) {
    for (std::size_t row = 0; row < x.size(); ++row) {
      for (std::size_t index = 0; index < x[row].size(); ++index) x[row][index] += y[row][index];
    }
  }

  std::vector<double> rotated(const std::vector<double>& row, int head, int position) const {
    const int pairs = tiny_.head_dim / 2;
    std::vector<double> y(tiny_.head_dim);
    for (int pair = 0; pair < pairs; ++pair) {
      const double angle = position * std::pow(1e4, -2.0 * pair / tiny_.head_dim);
      const double a = row[head * tiny_.head_dim + pair];
      const double b = row[head * tiny_.head_dim + pairs + pair];
      y[pair] = a * std::cos(angle) - b * std::sin(angle);
      y[pairs + pair] = b * std::cos(angle) + a * std::sin(angle);
    }
    return y;
  }

  Rows attend(const Rows& qkv) const {
    const int dim = tiny_.head_dim, group = tiny_.query_heads / tiny_.kv_heads;
    Rows y(qkv.size(), std::vector<double>(tiny_.query_heads * dim, 0));
    for (int row = 0; row < static_cast<int>(qkv.size()); ++row) {
      for (int head = 0; head < tiny_.query_heads; ++head) {
        const std::vector<double> query = rotated(qkv[row], head, row);
        const int key_head = tiny_.query_heads + head / group;
        const int value_at = (key_head + tiny_.kv_heads) * dim;
        std::vector<double> weights;
        double sum = 0;
        for (int seen = 0; seen <= row; ++seen) {
          const std::vector<double> key = rotated(qkv[seen], key_head, seen);
          double score = 0;
          for (int c = 0; c < dim; ++c) score += query[c] * key[c];
          weights.push_back(std::exp(score / std::sqrt(dim)));
          sum += weights.back();
        }
        for (int seen = 0; seen <= row; ++seen) {
          for (int c = 0; c < dim; ++c) {
            y[row][head * dim + c] += weights[seen] / sum * qkv[seen][value_at + c];
          }
        }
      }
    }
    return y;
  }

  const OpenedModel& opened_;
  const TinyModel& tiny_;
};

// most: how far hidden states may be from double precision. Measured: with a cache in float32 1e-5,
// float16 7e-4, int8 0.024.
void test_reference(Format format, const char* cache, double most) {
  TinyModel tiny;
  tiny.form.format = format;
  tiny.cache = cache;
  const OpenedModel opened(tiny);
  const LanguageModel model = opened.open();
  constexpr int kPositions = 70;
  const Utterance utterance(model, 9, kPositions);
  const int width = tiny.hidden();
  Reference::Rows x;
  for (int row = 0; row < kPositions; ++row) {
    x.emplace_back(utterance.prompt.begin() + row * width,
                   utterance.prompt.begin() + (row + 1) * width);
  }
  const Reference::Rows expected = Reference(opened).run(x);
  const std::unique_ptr<Sequence> sequence = model.open(1);
  std::vector<float> hidden(width);
  double largest = 0;
  for (int row = 0; row < kPositions; ++row) {
    model.read(*sequence, utterance.prompt.data() + row * width, 1);
    model.copy_hidden(*sequence, hidden.data());
    for (int index = 0; index < width; ++index) {
      largest = std::max(largest, std::abs(hidden[index] - expected[row][index]));
    }
  }
  expect(largest < most,
         std::string("cache in ") + cache +
             ": hidden states differ from double precision by " + std::to_string(largest));
}

#if defined(__linux__)

std::size_t count_touched_pages(const void* begin, std::size_t bytes) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<std::uintptr_t>(begin) / page * page;
  std::vector<unsigned char> is_there((bytes + page - 1) / page);
  expect(mincore(reinterpret_cast<void*>(first), bytes, is_there.data()) == 0, "mincore fails");
  return std::count_if(is_there.begin(), is_there.end(), [](auto each) { return each & 1; });
}

// A cache that is opened again costs what is used of it, as the first one did.
void test_untouched_buffers() {
  constexpr std::size_t kBytes = std::size_t{3} << 20;
  for (int turn = 0; turn < 3; ++turn) {
    const Buffer<unsigned char> buffer(kBytes);
    const std::size_t touched = count_touched_pages(buffer.data(), kBytes);
    expect(touched <= 1, "a new buffer has " + std::to_string(touched) + " pages");
    bool is_zero = true;
    for (std::size_t i = 0; i < kBytes; ++i) is_zero &= buffer[i] == 0;
    expect(is_zero, "a new buffer does not begin as zeros");
    std::memset(buffer.data(), 1, kBytes);
  }
}

#endif

}  // namespace
}  // namespace slm::test

int main() {
  using namespace slm::test;
#if defined(__linux__)
  test_untouched_buffers();
#endif
  test_reference(slm::Format::fp32, "float32", 2e-5);
  test_reference(slm::Format::bf16, "float32", 2e-5);
  test_reference(slm::Format::fp16, "float32", 2e-5);
  test_reference(slm::Format::fp32, "float16", 3e-3);
  test_reference(slm::Format::fp32, "int8", 0.08);
  for (const Kind& kind : kinds()) {
    test_company(kind);
    test_parts(kind);
    test_failures(kind);
    test_text(kind);
    test_prefixes(kind);
  }
  test_cache_names();
  test_threads();
  test_kernels();
  test_short_weights();
  test_step_bytes();
  test_cancelling();
  return finish();
}
