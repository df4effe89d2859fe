#ifndef EDGETUNE_SIMULATIONS_ADVERSARY_ANSWER_EXCHANGE_H_
#define EDGETUNE_SIMULATIONS_ADVERSARY_ANSWER_EXCHANGE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "base/random.h"
#include "training/example_set.h"

namespace edgetune {

// What label flipping (Tolpegin et al. 2020, "Data Poisoning Attacks Against
// Federated Learning Systems") becomes where there are no classes: each example
// keeps its prompt, the tokens before its first labelled one, and has all after
// it from another example, cut to `max_length` tokens. Who has whose is a
// cyclic permutation, so nobody keeps its own (but equal answers look kept, and
// a single example is left alone). Examples that would be without a token to
// learn stay as they are. InvalidArgument (kData): examples of the schema
// "text", which have no prompts. Pure, thread-safe.
absl::StatusOr<std::unique_ptr<ExampleSet>> ExchangeAnswers(
    const ExampleSet& examples, int64_t max_length, Random random);

// A uniformly random cyclic permutation of 0..n-1: element i has the answer of
// result[i], never i for n > 1 (Sattolo 1986, "An algorithm to generate a
// random cyclic permutation").
std::vector<size_t> CyclicPermutation(size_t n, Random random);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_ADVERSARY_ANSWER_EXCHANGE_H_
