// The JSON reader. Text is hostile: depth, the number of values and the length of the places that
// messages name are bounded, and every byte is checked before it is read.
#include "weights/json.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <locale>
#include <sstream>
#include <utility>

#include "failure.h"
#include "weights/utf8.h"

namespace slm {
namespace {

constexpr int kMaxDepth = 32;
constexpr std::size_t kMaxValues = 2'000'000;
constexpr std::size_t kMaxPlace = 160;  // characters of the name of a place
constexpr std::size_t kMaxNumber = 64;  // characters of a number

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Failure(SLM_BAD_BUNDLE, where + " " + what + "; copy or export the bundle again");
}

const char* kind_name(Json::Kind kind) {
  static constexpr const char* kNames[] = {"null",     "true or false", "a number",
                                           "a string", "a list",        "an object"};
  return kNames[static_cast<int>(kind)];
}

std::string join_place(const std::string& place, std::string_view key, bool is_root) {
  if (place.size() >= kMaxPlace) return place;
  std::string joined = place + (is_root ? ": " : ".");
  return joined.append(key.substr(0, kMaxPlace));
}

bool is_digit(char character) { return character >= '0' && character <= '9'; }

// The nearest double, whatever the process's locale.
double to_double(std::string_view digits) {
#if defined(__cpp_lib_to_chars)
  double value = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return result.ec == std::errc() ? value : HUGE_VAL;
#else
  std::istringstream stream{std::string(digits)};
  stream.imbue(std::locale::classic());
  double value = 0;
  return stream >> value ? value : HUGE_VAL;
#endif
}

}  // namespace

class JsonParser {
 public:
  JsonParser(std::string_view text, const std::string& where) : text_(text), where_(where) {}

  Json parse() {
    Json root = parse_value(where_, 0);
    skip_space();
    if (at_ != text_.size()) refuse("has something behind its end");
    return root;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    fail(where_, what + ", at byte " + std::to_string(at_));
  }

  void skip_space() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n' || text_[at_] == '\r')) {
      ++at_;
    }
  }

  char peek() const {
    if (at_ >= text_.size()) refuse("ends too early");
    return text_[at_];
  }

  bool take(char wanted) {
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  void expect(char wanted) {
    if (!take(wanted)) refuse(std::string("lacks '") + wanted + "'");
  }

  Json parse_value(const std::string& place, int depth) {
    if (depth > kMaxDepth) refuse("is nested too deeply");
    if (++values_ > kMaxValues) refuse("holds too many values");
    skip_space();
    Json value;
    value.where_ = place;
    switch (peek()) {
      case '{':
        parse_object(value, depth);
        break;
      case '[':
        parse_array(value, depth);
        break;
      case '"':
        value.kind_ = Json::Kind::string;
        value.string_ = parse_string();
        break;
      default:
        parse_scalar(value);
    }
    return value;
  }

  void parse_object(Json& value, int depth) {
    value.kind_ = Json::Kind::object;
    expect('{');
    skip_space();
    if (take('}')) return;
    do {
      skip_space();
      std::string key = parse_string();
      skip_space();
      expect(':');
      Json member = parse_value(join_place(value.where_, key, depth == 0), depth + 1);
      if (!value.members_.emplace(std::move(key), std::move(member)).second) {
        refuse("has a key twice");
      }
      skip_space();
    } while (take(','));
    expect('}');
  }

  void parse_array(Json& value, int depth) {
    value.kind_ = Json::Kind::array;
    expect('[');
    skip_space();
    if (take(']')) return;
    do {
      value.items_.push_back(parse_value(value.where_, depth + 1));
      skip_space();
    } while (take(','));
    expect(']');
  }

  void parse_scalar(Json& value) {
    if (take_word("null")) return;
    const bool is_true = take_word("true");
    if (is_true || take_word("false")) {
      value.kind_ = Json::Kind::boolean;
      value.boolean_ = is_true;
      return;
    }
    value.kind_ = Json::Kind::number;
    value.number_ = parse_number();
  }

  bool take_word(std::string_view word) {
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  // RFC 8259: no leading zeros, no '+', digits on both sides of a point.
  double parse_number() {
    const std::size_t begin = at_;
    take('-');
    if (!take('0')) take_digits();
    if (take('.')) take_digits();
    if (take('e') || take('E')) {
      if (!take('-')) take('+');
      take_digits();
    }
    const std::string_view digits = text_.substr(begin, at_ - begin);
    if (digits.size() > kMaxNumber) refuse("has a number of too many digits");
    const double value = to_double(digits);
    if (!std::isfinite(value)) refuse("has a number that is too large or too small");
    return value;
  }

  void take_digits() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_digit(text_[at_])) ++at_;
    if (at_ == begin) refuse("has a value that is not JSON");
  }

  std::string parse_string() {
    expect('"');
    std::string value;
    while (true) {
      const char character = peek();
      if (character == '"') break;
      if (static_cast<unsigned char>(character) < 0x20) refuse("has a control character");
      if (character == '\\') {
        parse_escape(value);
      } else {
        take_plain(value);
      }
    }
    ++at_;
    return value;
  }

  void take_plain(std::string& value) {
    const std::size_t length = utf8_length(text_.substr(at_));
    if (length == 0) refuse("is not UTF-8");
    value.append(text_.substr(at_, length));
    at_ += length;
  }

  void parse_escape(std::string& value) {
    static constexpr std::string_view kNames = "\"\\/bfnrt";
    static constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
    ++at_;
    const char name = peek();
    ++at_;
    if (name == 'u') {
      append_utf8(parse_code_point(), value);
    } else if (const std::size_t index = kNames.find(name); index != std::string_view::npos) {
      value.push_back(kValues[index]);
    } else {
      refuse("has an unknown escape");
    }
  }

  // The digits of \uXXXX, and of its second half where there is one.
  char32_t parse_code_point() {
    const char32_t first = parse_unit();
    if (first < 0xD800 || first > 0xDFFF) return first;
    if (first > 0xDBFF || !take('\\') || !take('u')) refuse("has half of a character");
    const char32_t second = parse_unit();
    if (second < 0xDC00 || second > 0xDFFF) refuse("has half of a character");
    return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
  }

  char32_t parse_unit() {
    unsigned unit = 0;
    const std::string_view digits = text_.substr(at_, 4);
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), unit, 16);
    if (digits.size() != 4 || result.ec != std::errc() || result.ptr != digits.data() + 4) {
      refuse("has an unknown escape");
    }
    at_ += 4;
    return unit;
  }

  std::string_view text_;
  std::string where_;
  std::size_t at_ = 0;
  std::size_t values_ = 0;
};

Json Json::parse(std::string_view text, const std::string& where) {
  return JsonParser(text, where).parse();
}

namespace {
void expect_kind(const std::string& where, Json::Kind found, Json::Kind wanted) {
  if (found == wanted) return;
  fail(where, std::string("is ") + kind_name(found) + ", should be " + kind_name(wanted));
}
}  // namespace

const Json* Json::find(std::string_view key) const {
  expect_kind(where_, kind_, Kind::object);
  const auto found = members_.find(key);
  return found == members_.end() ? nullptr : &found->second;
}

const Json& Json::at(std::string_view key) const {
  const Json* found = find(key);
  if (found == nullptr) fail(where_, "lacks '" + std::string(key.substr(0, kMaxPlace)) + "'");
  return *found;
}

const std::vector<Json>& Json::items() const {
  expect_kind(where_, kind_, Kind::array);
  return items_;
}

const std::map<std::string, Json, std::less<>>& Json::members() const {
  expect_kind(where_, kind_, Kind::object);
  return members_;
}

const std::string& Json::string() const {
  expect_kind(where_, kind_, Kind::string);
  return string_;
}

bool Json::boolean() const {
  expect_kind(where_, kind_, Kind::boolean);
  return boolean_;
}

double Json::number() const {
  expect_kind(where_, kind_, Kind::number);
  return number_;
}

std::int64_t Json::integer(std::int64_t least, std::int64_t most) const {
  const double value = number();
  // Beyond 2^53 not every integer is a double.
  const bool is_exact = std::fabs(value) <= 9007199254740992.0 && value == std::floor(value);
  const auto result = is_exact ? static_cast<std::int64_t>(value) : 0;
  if (!is_exact || result < least || result > most) {
    char shown[32];
    std::snprintf(shown, sizeof shown, "%.17g", value);
    fail(where_, std::string("is ") + shown + ", should be a whole number from " +
                     std::to_string(least) + " to " + std::to_string(most));
  }
  return result;
}

}  // namespace slm
