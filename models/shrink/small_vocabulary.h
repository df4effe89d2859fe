#ifndef EDGETUNE_MODELS_SHRINK_SMALL_VOCABULARY_H_
#define EDGETUNE_MODELS_SHRINK_SMALL_VOCABULARY_H_

// A byte-level BPE tokenizer with fewer tokens (Sennrich et al. 2016, whose
// merges build a token step by step). Stateless.

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/tokenizer/tokenizer.h"

namespace edgetune {

// The ids of a list of tokens: one a line, as tokenizer.json writes them
// ("Ġthe"); a token may come twice. InvalidArgument (kUsage): a line that is no
// token, by number; no line at all.
absl::StatusOr<std::vector<int32_t>> ParseTokenList(std::string_view text,
                                                    const Tokenizer& tokenizer);

// What must stay for `wanted` to be of use, ascending: these, every control,
// user and unknown token, those with a role (`ends` end a text), the token of
// every byte, so that any text can still be encoded, and all tokens through
// which the merges build one that stays. A text of whose tokens none goes then
// has the same tokens as before. Ids are below data.tokens.size().
std::vector<int32_t> CloseTokens(const TokenizerData& data,
                                 std::span<const int32_t> ends,
                                 std::span<const int32_t> wanted);

// At most `most` tokens, closed in that way and ascending: those that texts use
// most often, which have counts[id] of token id. Each takes along what it is
// merged from; one for which there is no room is left out. `counts` is as long
// as data.tokens. InvalidArgument (kUsage): more than `most` always stay.
absl::StatusOr<std::vector<int32_t>> MostUsedTokens(
    const TokenizerData& data, std::span<const int32_t> ends,
    std::span<const int64_t> counts, int64_t most);

// `kept`, ascending, under new ids in the same order, with the merges all of
// whose three tokens stay. InvalidArgument: an id outside the vocabulary, not
// ascending, or that of a token with a role is missing.
absl::StatusOr<TokenizerData> KeepTokens(const TokenizerData& data,
                                         std::span<const int32_t> kept);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_SHRINK_SMALL_VOCABULARY_H_
