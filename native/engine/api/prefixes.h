// What a bundle's prompts begin with.
//
// In: the weights' facts, and what makes embeddings of tokens. Out: a model that has read it.
#pragma once

#include "api/embedding_table.h"
#include "api/manifest.h"
#include "api/voices.h"
#include "language_model/language_model.h"
#include "weights/json.h"

namespace slm {

// Read "prefixes" of the facts, lists of tokens; where a speaker stands in one, once for each voice.
// Throws Failure: a token that there is not, too many of them.
void keep_prefixes(LanguageModel& model, const Json& facts, const EmbeddingTable& embeddings,
                   const Manifest& manifest, const Voices& voices);

}  // namespace slm
