#include "training/example_encoder.h"

#include <algorithm>
#include <span>

#include "base/status.h"

namespace edgetune {
namespace {

bool WantsBos(const Tokenizer& tokenizer) {
  return tokenizer.add_bos() && tokenizer.bos() >= 0;
}

int64_t CountSpecials(const Tokenizer& tokenizer, std::string_view text) {
  const auto ids = tokenizer.Encode(text, /*parse_special=*/true);
  return std::count_if(ids.begin(), ids.end(),
                       [&](int32_t id) { return tokenizer.IsControl(id); });
}

// A token is labelled when its bytes overlap the completion, as in chats.
LabelledTokens EncodePlain(const Tokenizer& tokenizer,
                           const JsonExample& example) {
  LabelledTokens out;
  const auto add = [&](int32_t id, bool labelled) {
    out.tokens.push_back(id);
    out.labelled.push_back(labelled ? 1 : 0);
  };
  if (WantsBos(tokenizer)) add(tokenizer.bos(), false);
  for (const auto& piece :
       tokenizer.EncodeWithOffsets(example.prompt + example.completion,
                                   /*parse_special=*/false)) {
    add(piece.id, piece.end > example.prompt.size());
  }
  // An answer ends; a text may be a part of a longer one.
  if (example.schema == TextSchema::kPrompt && tokenizer.eos() >= 0) {
    add(tokenizer.eos(), true);
  }
  return out;
}

absl::StatusOr<LabelledTokens> EncodeChat(const ModelFile& model,
                                          const JsonExample& example) {
  const std::span<const ChatMessage> messages(example.messages);
  EDGETUNE_ASSIGN_OR_RETURN(
      LabelledTokens out,
      model.chat_template().Encode(model.tokenizer(), messages,
                                   /*add_generation_prompt=*/false));
  if (example.prompt_messages == 0) return out;
  // Messages end with special tokens, so the prompt's tokens are a prefix.
  EDGETUNE_ASSIGN_OR_RETURN(
      const LabelledTokens prompt,
      model.chat_template().Encode(model.tokenizer(),
                                   messages.first(example.prompt_messages),
                                   /*add_generation_prompt=*/false));
  std::fill_n(out.labelled.begin(),
              std::min(prompt.tokens.size(), out.labelled.size()), 0);
  return out;
}

}  // namespace

absl::StatusOr<LabelledTokens> EncodeExample(const ModelFile& model,
                                             const JsonExample& example) {
  if (!example.messages.empty()) return EncodeChat(model, example);
  return EncodePlain(model.tokenizer(), example);
}

int64_t SpecialsInContent(const Tokenizer& tokenizer,
                          const JsonExample& example) {
  int64_t count = CountSpecials(tokenizer, example.prompt) +
                  CountSpecials(tokenizer, example.completion);
  for (const ChatMessage& message : example.messages) {
    count += CountSpecials(tokenizer, message.content);
  }
  return count;
}

TextBlocks::TextBlocks(const Tokenizer& tokenizer, int64_t length)
    : tokenizer_(tokenizer),
      room_(static_cast<size_t>(length) - (WantsBos(tokenizer) ? 1 : 0)) {}

std::vector<LabelledTokens> TextBlocks::Add(std::string_view part) {
  const auto ids = tokenizer_.Encode(part, /*parse_special=*/false);
  waiting_.insert(waiting_.end(), ids.begin(), ids.end());
  std::vector<LabelledTokens> blocks;
  size_t at = 0;
  // One token stays, so that no text ends with a block of none.
  while (waiting_.size() - at > room_) {
    blocks.push_back(Block(std::span(waiting_).subspan(at, room_)));
    at += room_;
  }
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<long>(at));
  return blocks;
}

std::vector<LabelledTokens> TextBlocks::EndText() {
  std::vector<LabelledTokens> blocks;
  if (!waiting_.empty()) blocks.push_back(Block(waiting_));
  waiting_.clear();
  return blocks;
}

LabelledTokens TextBlocks::Block(std::span<const int32_t> ids) const {
  LabelledTokens block;
  if (WantsBos(tokenizer_)) {
    block.tokens.push_back(tokenizer_.bos());
    block.labelled.push_back(0);
  }
  block.tokens.insert(block.tokens.end(), ids.begin(), ids.end());
  block.labelled.resize(block.tokens.size(), 1);
  return block;
}

}  // namespace edgetune
