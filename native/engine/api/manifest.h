// manifest.json of a native bundle: what the engine needs of it.
//
// In: a bundle's directory. Out: its files with their hashes, its voices, the placeholder's token,
// and paths of files that were checked to be plain ones within the bundle. It opens no other file.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "weights/json.h"

namespace slm {

inline constexpr const char* kManifestFile = "manifest.json";
inline constexpr const char* kWeightsFile = "weights.safetensors";
inline constexpr const char* kPrefixesFile = "prefixes.safetensors";  // may be missing

struct FileRecord {
  std::string name;
  std::uint64_t size_bytes = 0;
  std::string sha256;  // 64 digits in lower case
};

// The facts that the manifest and the weights must agree on.
struct ManifestFacts {
  bool is_next_token = false;
  int heads = 0;
  int hidden_size = 0;
  int max_positions = 0;
  bool is_speaker_aware = false;
  std::vector<int> streams;
  int sample_rate_hz = 0;
  int hop_samples = 0;
  int delay_frames = 0;
  int speaker_channels = 0;
};

class Manifest {
 public:
  // Throws Failure: none there, damaged, of another schema or for another engine.
  explicit Manifest(const std::string& directory);

  const std::vector<FileRecord>& files() const { return files_; }
  bool has_file(std::string_view name) const;
  const std::map<std::string, std::string, std::less<>>& voices() const { return voices_; }
  const std::string& default_voice() const { return default_voice_; }  // "" if there is none
  const std::string& embeddings() const { return embeddings_; }
  const ManifestFacts& facts() const { return facts_; }
  int placeholder() const { return placeholder_; }  // -1 if there is none

  // Path of a file that the manifest lists. Throws Failure unless it is a plain one, with no link
  // on the way to it.
  std::string path(std::string_view file) const;

 private:
  std::string directory_;
  std::vector<FileRecord> files_;
  std::map<std::string, std::string, std::less<>> voices_;
  std::string default_voice_;
  std::string embeddings_;
  ManifestFacts facts_;
  int placeholder_ = -1;
};

}  // namespace slm
