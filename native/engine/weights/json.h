// JSON values, strictly read: bounded depth, no duplicate keys, UTF-8 only. Errors are `Failure`s.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace slm {

class Json {
 public:
  enum class Kind { null, boolean, number, string, array, object };

  // where: begins error messages. Throws Failure.
  static Json parse(std::string_view text, const std::string& where);

  Kind kind() const { return kind_; }
  // A member of an object. `at` throws Failure if it is missing, `find` returns null.
  const Json& at(std::string_view key) const;
  const Json* find(std::string_view key) const;
  const std::vector<Json>& items() const;                           // of an array
  const std::map<std::string, Json, std::less<>>& members() const;  // of an object
  const std::string& string() const;
  bool boolean() const;
  double number() const;
  // An integer in [least, most]. Throws Failure.
  std::int64_t integer(std::int64_t least, std::int64_t most) const;

 private:
  friend class JsonParser;
  Kind kind_ = Kind::null;
  bool boolean_ = false;
  double number_ = 0;
  std::string string_;
  std::string where_;  // "manifest.json: codec.hop_samples"
  std::vector<Json> items_;
  std::map<std::string, Json, std::less<>> members_;
};

}  // namespace slm
