// Fuzz target: any calls of slm.h in any order, with any numbers.
//
// Input: numbers that choose calls and their arguments. Handles and memory are real, of exactly the
// promised sizes, so that a sanitizer sees every byte too much; everything else may be wrong.
#include <array>
#include <cstring>
#include <memory>

#include "slm.h"
#include "target.h"
#include "tiny_bundle.h"

namespace slm::fuzz {
namespace {

constexpr std::size_t kMostHandles = 6;
constexpr int kMostCalls = 60;

struct OpenBundle {
  slm_bundle* bundle = nullptr;
  slm_facts facts{};
};

struct Bundles {
  std::vector<OpenBundle> opened;

  Bundles() {
    for (const TinyBundle& tiny : tiny_bundles()) {
      const std::string folder = working_folder() + "/" + tiny.name;
      write_bundle(tiny, folder);
      slm_error error{};
      slm_options options{sizeof(slm_options), 2, 1, nullptr, 1};
      OpenBundle one;
      demand(slm_open(folder.c_str(), &options, &one.bundle, &error) == SLM_OK, error.message);
      one.facts.size = sizeof one.facts;
      demand(slm_describe(one.bundle, &one.facts, &error) == SLM_OK, error.message);
      opened.push_back(one);
    }
  }
  ~Bundles() {
    for (const OpenBundle& one : opened) slm_close(one.bundle);
  }
};

const std::vector<OpenBundle>& bundles() {
  static const Bundles kBundles;
  return kBundles.opened;
}

// Numbers from the input; zeros when it ends.
class Numbers {
 public:
  Numbers(const std::uint8_t* bytes, std::size_t count) : bytes_(bytes), left_(count) {}
  bool is_empty() const { return left_ == 0; }
  std::uint32_t byte() {
    if (left_ == 0) return 0;
    --left_;
    return *bytes_++;
  }
  std::uint32_t word() { return byte() | byte() << 8 | byte() << 16 | byte() << 24; }
  std::size_t below(std::size_t bound) { return byte() % bound; }
  // Mostly sensible, now and then any float at all.
  float real(float least, float most) {
    const std::uint32_t kind = byte();
    if (kind < 250) return least + (most - least) * static_cast<float>(kind) / 256.0f;
    const std::uint32_t bits = word();
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  // Mostly in 0 … bound - 1, now and then anything.
  std::int32_t integer(std::int32_t bound) {
    const std::uint32_t kind = byte();
    if (kind >= 252) return static_cast<std::int32_t>(word());
    return static_cast<std::int32_t>(kind) % bound;
  }
  std::vector<float> reals(std::size_t count) {
    std::vector<float> values(count);
    for (float& value : values) value = real(-1, 1);
    return values;
  }

 private:
  const std::uint8_t* bytes_;
  std::size_t left_;
};

struct OpenSequence {
  slm_sequence* handle;
  const OpenBundle* bundle;
};
struct OpenSpeech {
  slm_speech* handle;
  const OpenBundle* bundle;
};

class Session {
 public:
  Session(const std::uint8_t* bytes, std::size_t count) : numbers_(bytes, count) {}
  ~Session() {
    for (const OpenSequence& sequence : sequences_) slm_sequence_close(sequence.handle);
    for (const OpenSpeech& speech : speeches_) slm_speech_close(speech.handle);
  }

  void run() {
    using Call = void (Session::*)();
    static constexpr Call kCalls[] = {
        &Session::open_sequence, &Session::close_sequence, &Session::read,   &Session::read,
        &Session::step,          &Session::step,           &Session::step,   &Session::write,
        &Session::hidden,        &Session::cancel,         &Session::decode, &Session::decode,
        &Session::open_speech,   &Session::close_speech,   &Session::embed,  &Session::voice,
        &Session::encode,        &Session::describe,       &Session::open,   &Session::project};
    for (int call = 0; call < kMostCalls && !numbers_.is_empty(); ++call) {
      (this->*kCalls[numbers_.below(std::size(kCalls))])();
    }
  }

 private:
  // A status, and a message that fits it.
  slm_status check(slm_status status) {
    demand(status >= SLM_OK && status < SLM_BROKEN, "a known status");
    demand((status == SLM_OK) == (error_.message[0] == '\0'), "a message, and only for failures");
    return status;
  }
  const OpenBundle& bundle() { return bundles()[numbers_.below(bundles().size())]; }
  // Null now and then.
  template <typename Value>
  Value* maybe(Value* pointer) {
    return numbers_.byte() >= 250 ? nullptr : pointer;
  }
  OpenSequence* sequence() {
    return sequences_.empty() ? nullptr : &sequences_[numbers_.below(sequences_.size())];
  }
  OpenSpeech* speech() {
    return speeches_.empty() ? nullptr : &speeches_[numbers_.below(speeches_.size())];
  }
  slm_sampling sampling() {
    return {numbers_.real(0.1f, 2), numbers_.integer(30) + 1, numbers_.real(0, 1),
            numbers_.real(1, 2)};
  }

  void open_sequence() {
    if (sequences_.size() == kMostHandles) return;
    const OpenBundle& from = bundle();
    slm_sequence* handle = nullptr;
    const std::int64_t positions = numbers_.integer(100);
    if (check(slm_sequence_open(from.bundle, positions, &handle, &error_)) == SLM_OK) {
      sequences_.push_back({handle, &from});
    }
  }

  void close_sequence() {
    if (sequences_.empty()) return;
    const std::size_t index = numbers_.below(sequences_.size());
    slm_sequence_close(sequences_[index].handle);
    sequences_.erase(sequences_.begin() + static_cast<std::ptrdiff_t>(index));
  }

  void read() {
    OpenSequence* from = sequence();
    if (from == nullptr) return;
    const std::size_t count = numbers_.below(40);
    const std::vector<float> embeddings =
        numbers_.reals(count * static_cast<std::size_t>(from->bundle->facts.hidden_size));
    check(slm_read(from->handle, maybe(embeddings.data()), count, &error_));
  }

  void step() {
    const std::size_t rows = numbers_.below(5);
    std::vector<slm_sequence*> handles;
    std::vector<slm_sampling> samplings;
    std::size_t heads = 1;  // the most of the rows: they may be of different bundles
    for (std::size_t row = 0; row < rows; ++row) {
      OpenSequence* from = sequence();
      handles.push_back(from == nullptr ? nullptr : from->handle);
      if (from != nullptr)
        heads = std::max<std::size_t>(heads, static_cast<std::size_t>(from->bundle->facts.heads));
      samplings.push_back(sampling());
    }
    std::vector<float> noise(rows * heads);
    for (float& number : noise) number = numbers_.real(0, 1);
    std::vector<std::int32_t> codes(rows * heads);
    std::vector<slm_drawn> drawn(rows);
    check(slm_step(maybe(handles.data()), rows, samplings.data(), noise.data(), codes.data(),
                   drawn.data(), &error_));
  }

  void write() {
    OpenSequence* from = sequence();
    if (from == nullptr) return;
    const slm_sampling settings = sampling();
    std::int32_t token = 0;
    check(slm_write(from->handle, maybe(&settings), numbers_.real(0, 1), &token, &error_));
  }

  void hidden() {
    OpenSequence* from = sequence();
    if (from == nullptr) return;
    std::vector<float> values(static_cast<std::size_t>(from->bundle->facts.hidden_size));
    check(slm_hidden(from->handle, maybe(values.data()), &error_));
  }

  void cancel() {
    OpenSequence* from = sequence();
    if (from != nullptr && numbers_.byte() > 200) slm_cancel(from->handle);
  }

  void open_speech() {
    if (speeches_.size() == kMostHandles) return;
    const OpenBundle& from = bundle();
    const std::vector<float> speaker =
        numbers_.reals(static_cast<std::size_t>(from.facts.speaker_channels));
    slm_speech* handle = nullptr;
    const slm_status status = slm_speech_open(from.bundle, maybe(speaker.data()), &handle, &error_);
    if (check(status) == SLM_OK) speeches_.push_back({handle, &from});
  }

  void close_speech() {
    if (speeches_.empty()) return;
    slm_speech_close(speeches_.back().handle);
    speeches_.pop_back();
  }

  void decode() {
    OpenSpeech* from = speech();
    if (from == nullptr) return;
    const std::size_t count = numbers_.below(30);
    std::vector<std::int32_t> frames(count * static_cast<std::size_t>(from->bundle->facts.streams));
    for (std::int32_t& code : frames) code = numbers_.integer(9);
    std::size_t room = slm_speech_room(from->handle, count);
    if (numbers_.byte() > 240) room /= 2;
    const auto audio = std::make_unique<float[]>(room);
    std::size_t samples = 0;
    const std::int32_t is_last = numbers_.byte() > 230;
    check(slm_speech_decode(from->handle, maybe(frames.data()), count, is_last, audio.get(), room,
                            &samples, &error_));
    demand(samples <= room, "no more samples than there is room");
    slm_speech_room(from->handle, numbers_.word());
  }

  void embed() {
    const OpenBundle& from = bundle();
    const std::size_t count = numbers_.below(20);
    std::vector<std::int32_t> tokens(count);
    for (std::int32_t& token : tokens) token = numbers_.integer(kVocabulary);
    const std::vector<float> speaker =
        numbers_.reals(static_cast<std::size_t>(from.facts.speaker_channels));
    std::vector<float> values(count * static_cast<std::size_t>(from.facts.hidden_size));
    check(slm_embed(from.bundle, maybe(tokens.data()), count, maybe(speaker.data()),
                    maybe(values.data()), &error_));
  }

  void voice() {
    const OpenBundle& from = bundle();
    const std::string name(numbers_.below(60), static_cast<char>(numbers_.byte() | 1));
    std::vector<float> speaker(static_cast<std::size_t>(from.facts.speaker_channels));
    check(slm_voice(from.bundle, maybe(name.c_str()), maybe(speaker.data()), &error_));
  }

  void encode() {
    const OpenBundle& from = bundle();
    const std::vector<float> audio = numbers_.reals(numbers_.byte() + numbers_.byte());
    const std::size_t room = numbers_.below(90);
    std::vector<std::int32_t> frames(room * static_cast<std::size_t>(from.facts.streams));
    std::vector<float> speaker(static_cast<std::size_t>(from.facts.speaker_channels));
    std::size_t count = 0;
    const slm_status status =
        slm_encode(from.bundle, audio.data(), audio.size(), maybe(frames.data()), room, &count,
                   maybe(speaker.data()), &error_);
    if (audio.data() != nullptr) check(status);
  }

  void describe() {
    const OpenBundle& from = bundle();
    alignas(slm_facts) std::array<std::byte, sizeof(slm_facts)> memory{};
    auto* facts = reinterpret_cast<slm_facts*>(memory.data());
    facts->size = static_cast<std::uint32_t>(numbers_.integer(sizeof(slm_facts) + 1));
    if (facts->size > sizeof(slm_facts) && facts->size <= 4096)
      facts->size = 0;  // a lie would write behind it
    check(slm_describe(from.bundle, maybe(facts), &error_));
    std::vector<slm_part_time> times(static_cast<std::size_t>(numbers_.byte()) * 8);
    std::size_t count = 0;
    check(slm_part_times(from.bundle, maybe(times.data()), times.size(), maybe(&count), &error_));
  }

  void open() {
    const std::string path = working_folder() + (numbers_.byte() > 200 ? "/plain" : "/none");
    slm_options options{sizeof(slm_options), numbers_.integer(5), numbers_.integer(2), nullptr,
                        numbers_.integer(2)};
    if (numbers_.byte() > 200) options.kernels = "portable";
    if (numbers_.byte() > 240) options.size = 4;
    slm_bundle* opened = nullptr;
    check(slm_open(maybe(path.c_str()), maybe(&options), &opened, &error_));
    slm_close(opened);
  }

  void project() {
    const OpenBundle& from = bundle();
    const std::vector<float> speaker =
        numbers_.reals(static_cast<std::size_t>(from.facts.speaker_channels));
    std::vector<float> values(static_cast<std::size_t>(from.facts.hidden_size));
    check(slm_project_speaker(from.bundle, maybe(speaker.data()), values.data(), &error_));
  }

  Numbers numbers_;
  slm_error error_{};
  std::vector<OpenSequence> sequences_;
  std::vector<OpenSpeech> speeches_;
};

}  // namespace

const std::vector<std::string>& seeds() {
  static const std::vector<std::string> kSeeds = [] {
    Random random(5);
    std::vector<std::string> inputs;
    for (int index = 0; index < 40; ++index) {
      std::string input;
      for (int left = random.integer(50, 3'000); left > 0; --left) {
        input += static_cast<char>(random.bits());
      }
      inputs.push_back(input);
    }
    return inputs;
  }();
  return kSeeds;
}

void run(const std::uint8_t* bytes, std::size_t count) {
  bundles();
  Session(bytes, count).run();
}

}  // namespace slm::fuzz
