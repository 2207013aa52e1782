// What a bundle's handle points at. Those of sequences and speeches are beside their functions.
//
// In: a directory. Out: everything that was read from it. Nothing in it changes after slm_open.
#pragma once

#include <memory>
#include <string>

#include "api/embedding_table.h"
#include "api/manifest.h"
#include "api/voices.h"
#include "kernels/kernels.h"
#include "slm.h"
#include "weights/sizes.h"
#include "weights/weights.h"

namespace slm {
class Codec;
class LanguageModel;
}  // namespace slm

struct slm_bundle {
  // Throws Failure. options: complete, with their defaults filled in.
  slm_bundle(const std::string& directory, const slm_options& options);
  ~slm_bundle();
  slm_bundle(const slm_bundle&) = delete;
  slm_bundle& operator=(const slm_bundle&) = delete;

  const slm::Kernels* kernels;
  int threads;
  bool time_parts;
  slm::Manifest manifest;
  slm::Weights weights;
  slm::ModelSizes model_sizes;
  slm::CodecSizes codec_sizes;
  slm::EmbeddingTable embeddings;
  slm::Voices voices;
  std::unique_ptr<const slm::LanguageModel> model;
  std::unique_ptr<const slm::Codec> codec;
};
