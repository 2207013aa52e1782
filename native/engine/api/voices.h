// The speaker embeddings of a bundle's voices.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "api/manifest.h"

namespace slm {

// float [channels] by name.
using Voices = std::map<std::string, std::vector<float>, std::less<>>;

// Throws Failure: a file is damaged, or of another width.
Voices read_voices(const Manifest& manifest, int channels);

}  // namespace slm
