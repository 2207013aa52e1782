// weights/: JSON, safetensors, packed matrices, hashes. Files are written here, right and wrong.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "expect.h"
#include "failure.h"
#include "weights/float16.h"
#include "weights/json.h"
#include "weights/pages.h"
#include "weights/sha256.h"
#include "weights/sizes.h"
#include "weights/utf8.h"
#include "weights/weights.h"

namespace slm::test {
namespace {

std::string folder;

std::string write(const std::string& name, const std::string& content) {
  const std::string path = folder + "/" + name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

void test_json() {
  const Json value =
      Json::parse(R"( {"a": [1, -2.5e1, true, null], "b\u00e9\ud83d\ude00": "\n/"} )", "x");
  expect(value.at("a").items().size() == 4, "four items");
  expect(value.at("a").items()[1].number() == -25.0, "a number with an exponent");
  expect(value.at("a").items()[0].integer(0, 1) == 1, "an integer");
  expect(value.at("b\xc3\xa9\xf0\x9f\x98\x80").string() == "\n/", "escapes");
  expect(value.find("c") == nullptr, "a missing member");
  expect(Json::parse("1e-6", "x").number() == 1e-6, "the nearest double");
  expect(Json::parse("0.020833333333333332", "x").number() == 0.020833333333333332, "17 digits");
  expect_refusal([&] { value.at("a").string(); }, "x: a is a list, should be a string");
  expect_refusal([&] { value.at("a").items()[1].integer(0, 9); }, "whole number from 0 to 9");
  expect_refusal([&] { Json::parse("2.5", "x").integer(0, 9); }, "is 2.5");
  expect_refusal([&] { Json::parse("1e300", "x").integer(0, 9); }, "is 1");
}

void test_json_refusals() {
  const char* wrong[] = {"",
                         "{",
                         "[1,]",
                         "{\"a\":1,}",
                         "{\"a\":1,\"a\":2}",
                         "01",
                         "+1",
                         "1.",
                         ".5",
                         "1e",
                         "nul",
                         "\"\t\"",
                         "1 2",
                         "NaN",
                         "\"\\x\"",
                         "\"\\u12\"",
                         "\"\\ud800\"",
                         "\"\xff\"",
                         "\"\xed\xa0\x80\"",
                         "\"\xc0\x80\"",
                         "1e999",
                         "\"abc",
                         "{1:2}",
                         "[1 2]",
                         "-",
                         "\"\\u+123\""};
  for (const char* text : wrong) expect_refusal([&] { Json::parse(text, "x"); }, "x ");
  expect_refusal([] { Json::parse(std::string(100, '['), "x"); }, "nested too deeply");
  expect_refusal([] { Json::parse(std::string(100, '1'), "x"); }, "too many digits");
}

void test_utf8() {
  for (const char32_t point : {0x24u, 0xA2u, 0x7FFu, 0x800u, 0xFFFDu, 0x10000u, 0x10FFFFu}) {
    std::string text;
    append_utf8(point, text);
    expect(utf8_length(text) == text.size() && decode_utf8(text) == point, "a character and back");
    text.pop_back();
    expect(utf8_length(text) == 0, "a cut character");
  }
}

void test_sha256() {
  Sha256 empty;
  expect(empty.finish() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
         "of nothing");
  Sha256 abc;
  abc.add("a", 1);
  abc.add("bc", 2);
  expect(abc.finish() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
         "of abc");
  Sha256 million;
  const std::string piece(1009, 'a');
  for (int left = 1'000'000; left > 0; left -= 1009) {
    million.add(piece.data(), static_cast<std::size_t>(left < 1009 ? left : 1009));
  }
  expect(million.finish() == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
         "of a million");
}

void test_float16() {
  expect(from_float16(0x3C00) == 1.0f && from_float16(0xC000) == -2.0f, "whole numbers");
  expect(from_float16(0x0001) == 0x1p-24f && from_float16(0x03FF) == 1023 * 0x1p-24f,
         "small numbers");
  expect(from_float16(0x7BFF) == 65504.0f && from_float16(0x7C00) > 1e38f, "large numbers");
}

// A file as docs/native-engine.md describes it. tensors: entries of the header, without braces.
std::string make_weights(const std::string& tensors, const std::string& matrices, std::size_t bytes,
                         std::size_t alignment = 4096) {
  std::string facts = "{\\\"format\\\":1,\\\"matrices\\\":{" + matrices + "}}";
  std::string header = "{\"__metadata__\":{\"slm\":\"" + facts + "\"}," + tensors + "}";
  while ((8 + header.size()) % alignment != 0) header += ' ';
  std::uint64_t length = header.size();
  std::string file(8, '\0');
  for (int index = 0; index < 8; ++index)
    file[static_cast<std::size_t>(index)] = static_cast<char>(length >> 8 * index);
  file += header;
  for (std::size_t index = 0; index < bytes; ++index) file += static_cast<char>(index);
  return file;
}

std::string quote(std::string text) {
  std::string quoted;
  for (const char character : text)
    quoted += character == '"' ? std::string("\\\"") : std::string(1, character);
  return quoted;
}

const char* kMatrix =
    R"("m":{"format":"int4","outputs":17,"channels":20,"block":32,"scale_blocks":1,"gain":0.5})";
const char* kTensors = R"("m.codes":{"dtype":"U8","shape":[2,1,4,16,4],"data_offsets":[0,512]},)"
                       R"("m.scales":{"dtype":"F16","shape":[2,1,16],"data_offsets":[512,576]},)"
                       R"("padding.0":{"dtype":"U8","shape":[64],"data_offsets":[576,640]},)"
                       R"("m.bias":{"dtype":"F32","shape":[32],"data_offsets":[640,768]},)"
                       R"("v":{"dtype":"F32","shape":[3],"data_offsets":[768,780]},)"
                       R"("padding.1":{"dtype":"U8","shape":[52],"data_offsets":[780,832]})";

void test_weights(bool map) {
  const std::string path = write("good.safetensors", make_weights(kTensors, quote(kMatrix), 832));
  const Weights weights(path, map, 2);
  const Matrix matrix = weights.matrix("m", 17, 20);
  expect(matrix.format == Format::int4 && matrix.inputs == 32 && matrix.channels == 32, "sizes");
  expect(matrix.block == 32 && matrix.scale_blocks == 1 && matrix.gain == 0.5f, "scales");
  expect(matrix.bias != nullptr && matrix.smoothing == nullptr, "optional tensors");
  expect(reinterpret_cast<std::uintptr_t>(matrix.codes) % 64 == 0, "aligned");
  const auto* codes = static_cast<const unsigned char*>(matrix.codes);
  expect(codes[0] == 0 && codes[255] == 255 && codes[511] == 255, "its bytes");
  expect(weights.floats("v", 3).size == 3 && weights.has("v") && !weights.has("w"), "a vector");
  expect(weights.is_half("m.scales") && !weights.is_half("v"), "types");
  expect(weights.bytes() == 832, "bytes");
  expect_refusal([&] { weights.matrix("m", 16, 20); }, "is 17 x 20, should be 16 x 20");
  expect_refusal([&] { weights.matrix("n", 16, 20); }, "matrix n is missing");
  expect_refusal([&] { weights.floats("v", 4); }, "has 3 values, should have 4");
  expect_refusal([&] { weights.floats("m.scales", 32); }, "is not of type F32");
  expect_refusal([&] { weights.halves("v", 3); }, "is not of type F16");
}

// A change of the right file, and what the refusal says.
void refuse_weights(const std::string& part, const std::string& now, const std::string& why,
                    int line = __builtin_LINE()) {
  std::string tensors = kTensors, matrix = kMatrix;
  for (std::string* text : {&tensors, &matrix}) {
    if (const std::size_t at = text->find(part); at != std::string::npos)
      text->replace(at, part.size(), now);
  }
  const std::string path = write("bad.safetensors", make_weights(tensors, quote(matrix), 832));
  expect_refusal([&] { Weights(path, false, 1).matrix("m", 17, 20); }, why, line);
}

void test_lying_weights() {
  refuse_weights("[0,512]", "[0,511]", "do not fit its shape");
  refuse_weights("[512,576]", "[448,512]", "overlap or leave gaps");
  refuse_weights("[2,1,4,16,4]", "[4294967296,4294967296,4294967296]", "too many values");
  refuse_weights("[52],\"data_offsets\":[780,832]", "[116],\"data_offsets\":[780,896]",
                 "its tensors have 896");
  refuse_weights("\"F16\"", "\"F8\"", "a type that is not known");
  refuse_weights("[2,1,16]", "[2,-1,16]", "whole number");
  refuse_weights("m.scales", "m.other", "tensor m.scales is missing");
  refuse_weights("\"block\":32", "\"block\":48", "cannot be packed");
  refuse_weights("\"block\":32", "\"block\":64", "has 512 values, should have 1024");
  refuse_weights("\"scale_blocks\":1", "\"scale_blocks\":3", "whole number from 1 to 1");
  refuse_weights("\"int4\"", "\"int3\"", "is no number format");
  refuse_weights("\"gain\":0.5", "\"gain\":1e200", "is not finite");
  refuse_weights("\"outputs\":17", "\"outputs\":1e9", "whole number");
  refuse_weights("\"padding.0\":{\"dtype\":\"U8\",\"shape\":[64],\"data_offsets\":[576,640]}",
                 "\"padding.0\":{\"dtype\":\"U8\",\"shape\":[32],\"data_offsets\":[576,608]},"
                 "\"odd\":{\"dtype\":\"U8\",\"shape\":[32],\"data_offsets\":[608,640]}",
                 "tensor odd is not aligned");
}

void test_damaged_files() {
  const std::string good = make_weights(kTensors, quote(kMatrix), 832);
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{7}, std::size_t{8}, std::size_t{100}, good.size() - 1}) {
    const std::string path = write("short.safetensors", good.substr(0, size));
    expect(!message_of([&] { Weights(path, false, 1); }).empty(), "a truncated file");
  }
  const std::string odd = write("odd.safetensors", make_weights(kTensors, quote(kMatrix), 832, 64));
  expect_refusal([&] { Weights(odd, true, 1); }, "not aligned");
  expect_refusal([&] { Weights(folder + "/none", true, 1); }, "no such file");
  expect_refusal([&] { Weights(folder, true, 1); }, "not a plain file");
}

}  // namespace
}  // namespace slm::test

int main() {
  using namespace slm::test;
  const TemporaryFolder made;
  folder = made.path();
  test_json();
  test_json_refusals();
  test_utf8();
  test_sha256();
  test_float16();
  test_weights(false);
  test_weights(true);
  test_lying_weights();
  test_damaged_files();
  return finish();
}
