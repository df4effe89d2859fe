#include "models/fused/llama.h"

#include <utility>

#include "base/status.h"
#include "models/fused/cpu.h"
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
  if (bf16 && !CpuCanMultiplyBf16()) {
    return Annotate(absl::FailedPreconditionError(
                        "the fused engine cannot multiply bfloat16 on this "
                        "processor, which has no AVX-512"),
                    ErrorKind::kConfig,
                    "precision auto or fp32, or the engine reference");
  }
  return bf16 ? LoadAs<BFloat16>(file) : LoadAs<float>(file);
}

}  // namespace edgetune::fused
