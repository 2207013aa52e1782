// What a bundle's prompts begin with.
//
// In: the weights' facts, what makes embeddings of tokens, and prefixes.safetensors if the bundle has
// it. Out: a model that has read it; slm_prefix.
#pragma once

#include "api/embedding_table.h"
#include "api/manifest.h"
#include "api/voices.h"
#include "language_model/language_model.h"
#include "weights/json.h"

namespace slm {

// Read "prefixes" of the facts, lists of tokens; where a speaker stands in one, once for each voice.
// What is stored is not computed. Throws Failure: a token that there is not, too many of them, a
// stored one that does not fit.
void keep_prefixes(LanguageModel& model, const Json& facts, const EmbeddingTable& embeddings,
                   const Manifest& manifest, const Voices& voices);

}  // namespace slm
