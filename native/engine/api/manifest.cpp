// Reading manifest.json, and finding the files that it lists.
#include "api/manifest.h"

#include <algorithm>
#include <filesystem>

#include "failure.h"
#include "weights/pages.h"
#include "weights/sizes.h"

namespace slm {
namespace {

constexpr std::size_t kMostManifestBytes = std::size_t{4} << 20;
constexpr int kSchema = 2;
constexpr std::int64_t kMostSize = (std::int64_t{1} << 31) - 1;
constexpr std::int64_t kMostFileBytes = std::int64_t{1} << 53;
constexpr std::size_t kHashDigits = 64;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Failure(SLM_BAD_BUNDLE, where + " " + what + "; export again");
}

bool is_letter_or_digit(char character) {
  return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
         (character >= '0' && character <= '9') || character == '_';
}

// A name of letters, digits, points and hyphens that does not begin with either of the latter.
bool is_plain_part(std::string_view part) {
  if (part.empty() || !is_letter_or_digit(part[0])) return false;
  for (const char character : part) {
    if (!is_letter_or_digit(character) && character != '.' && character != '-') return false;
  }
  return true;
}

bool is_plain_name(std::string_view name) {
  while (true) {
    const std::size_t slash = name.find('/');
    if (!is_plain_part(name.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    name.remove_prefix(slash + 1);
  }
}

bool is_hash(std::string_view text) {
  return text.size() == kHashDigits &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::filesystem::path to_path(std::string_view utf8) {
  return std::filesystem::path(std::u8string(utf8.begin(), utf8.end()));
}

std::string to_utf8(const std::filesystem::path& path) {
  const std::u8string text = path.u8string();
  return std::string(text.begin(), text.end());
}

std::vector<FileRecord> read_files(const Json& files, const std::string& where) {
  std::vector<FileRecord> records;
  for (const auto& [name, record] : files.members()) {
    if (!is_plain_name(name)) fail(where, "has the unsafe file name '" + name.substr(0, 80) + "'");
    const std::string& sha256 = record.at("sha256").string();
    if (!is_hash(sha256)) fail(where, "has no SHA-256 of " + name.substr(0, 80));
    const auto size =
        static_cast<std::uint64_t>(record.at("size_bytes").integer(0, kMostFileBytes));
    records.push_back({name, size, sha256});
  }
  return records;
}

ManifestFacts read_facts(const Json& manifest) {
  const Json& model = manifest.at("language_model");
  const Json& codec = manifest.at("codec");
  ManifestFacts facts;
  facts.is_next_token = model.at("kind").string() == "ntp";
  facts.heads = static_cast<int>(model.at("heads").integer(1, kMostSize));
  facts.hidden_size = static_cast<int>(model.at("hidden_size").integer(1, kMostSize));
  facts.max_positions = static_cast<int>(model.at("max_positions").integer(1, kMaxPositions));
  facts.is_speaker_aware = model.at("speaker_aware").boolean();
  for (const Json& size : codec.at("streams").items()) {
    facts.streams.push_back(static_cast<int>(size.integer(1, kMostSize)));
  }
  facts.sample_rate_hz = static_cast<int>(codec.at("sample_rate_hz").integer(1, kMostSize));
  facts.hop_samples = static_cast<int>(codec.at("hop_samples").integer(1, kMostSize));
  facts.delay_frames = static_cast<int>(codec.at("delay_frames").integer(0, kMostSize));
  facts.speaker_channels = static_cast<int>(codec.at("speaker_channels").integer(1, kMostSize));
  return facts;
}

void check_kind(const Json& manifest, const std::string& where) {
  if (manifest.at("schema_version").integer(0, kMostSize) != kSchema) {
    throw Failure(SLM_NOT_SUPPORTED, where + ": is of another schema than " +
                                         std::to_string(kSchema) +
                                         "; export the bundle again, or update the library");
  }
  const std::string& kind = manifest.at("engine").at("kind").string();
  if (kind != "native") {
    throw Failure(SLM_NOT_SUPPORTED, where + ": is a bundle for '" + kind.substr(0, 40) +
                                         "'; export it with --target native");
  }
}

std::string read_manifest(const std::string& directory, const std::string& where) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(to_path(directory), ignored)) {
    throw Failure(SLM_BAD_BUNDLE, directory + ": no such directory; give a bundle's");
  }
  if (!std::filesystem::exists(to_path(where), ignored)) {
    throw Failure(SLM_BAD_BUNDLE, directory +
                                      ": not a bundle: it has no manifest.json; make one: "
                                      "python -m export.build --target native --output DIR");
  }
  return read_file(where, kMostManifestBytes);
}

}  // namespace

Manifest::Manifest(const std::string& directory) : directory_(directory) {
  const std::string where = to_utf8(to_path(directory) / kManifestFile);
  const Json manifest = Json::parse(read_manifest(directory, where), where);
  check_kind(manifest, where);
  files_ = read_files(manifest.at("files"), where);
  facts_ = read_facts(manifest);
  embeddings_ = manifest.at("embeddings").string();
  for (const auto& [name, file] : manifest.at("voices").members()) voices_[name] = file.string();
  const Json& default_voice = manifest.at("default_voice");
  if (default_voice.kind() != Json::Kind::null) {
    default_voice_ = default_voice.string();
    if (!voices_.contains(default_voice_)) fail(where, "has a default_voice that is no voice");
  }
  const Json* placeholder = manifest.at("prompt").find("placeholder_id");
  if (placeholder != nullptr && placeholder->kind() != Json::Kind::null) {
    placeholder_ = static_cast<int>(placeholder->integer(0, kMostSize));
  } else if (facts_.is_speaker_aware) {
    fail(where, "has no prompt.placeholder_id, but the model is speaker-aware");
  }
}

bool Manifest::has_file(std::string_view name) const {
  return std::any_of(files_.begin(), files_.end(),
                     [&](const FileRecord& record) { return record.name == name; });
}

std::string Manifest::path(std::string_view file) const {
  const std::filesystem::path folder = to_path(directory_);
  const std::string where = to_utf8(folder / kManifestFile);
  if (!has_file(file)) fail(where, "has no hash for '" + std::string(file.substr(0, 80)) + "'");
  std::filesystem::path path = folder;
  for (const std::filesystem::path& part : to_path(file)) {
    path /= part;
    std::error_code error;
    const std::filesystem::file_status status = std::filesystem::symlink_status(path, error);
    if (std::filesystem::is_symlink(status)) {
      throw Failure(SLM_BAD_BUNDLE, to_utf8(path) +
                                        ": is a link, as in a hub's cache; a bundle holds "
                                        "plain files only: copy it with cp -rL");
    }
    if (!std::filesystem::exists(status)) fail(to_utf8(path) + ":", "is missing");
  }
  return to_utf8(path);
}

}  // namespace slm
