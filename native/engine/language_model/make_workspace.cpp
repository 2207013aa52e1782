// The working memory of a call: as large as the model's layers need it.
#include "language_model/language_model.h"

namespace slm {
namespace {

std::vector<const DecoderLayer*> all_layers(const DecoderStack& backbone,
                                            const SpeechHeads& heads) {
  std::vector<const DecoderLayer*> layers;
  for (const DecoderLayer& layer : backbone.layers()) layers.push_back(&layer);
  for (const SpeechHead& head : heads.heads()) {
    for (const DecoderStack& decoder : head.decoder) {
      for (const DecoderLayer& layer : decoder.layers()) layers.push_back(&layer);
    }
  }
  return layers;
}

std::vector<DrawMemory> make_draw_memory(int count, int entries) {
  std::vector<DrawMemory> memory;
  for (int index = 0; index < count; ++index) memory.emplace_back(entries);
  return memory;
}

}  // namespace

std::unique_ptr<Workspace> LanguageModel::make_workspace() const {
  ProductShape text(text_head_ ? sizes_.hidden_size : 0);
  if (text_head_) text.add(*text_head_);
  const int vocabulary = sizes_.text_vocabulary;
  return std::make_unique<Workspace>(
      Workspace{DecoderMemory(kBlockRows, sizes_, all_layers(backbone_, heads_)),
                HeadMemory(kBlockRows, sizes_, heads_), std::vector<HeadRow>(kBlockRows),
                make_draw_memory(Team::kPiecesPerThread * team_.threads, heads_.most_entries()),
                ProductRows(1, text), Buffer<float>(vocabulary), DrawMemory(vocabulary)});
}

}  // namespace slm
