#include "models/fused/llama.h"

#include <utility>

#include "base/status.h"
#include "models/fused/llama_stack.h"

namespace edgetune::fused {
namespace {

template <typename T>
absl::StatusOr<std::unique_ptr<Llama>> LoadAs(const ModelFile& file) {
  EDGETUNE_ASSIGN_OR_RETURN(Weights<T> weights, Weights<T>::Read(file));
  return std::make_unique<LlamaStack<T>>(file.config(), std::move(weights));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Llama>> Llama::Load(const ModelFile& file,
                                                   bool bf16) {
  return bf16 ? LoadAs<BFloat16>(file) : LoadAs<float>(file);
}

}  // namespace edgetune::fused
