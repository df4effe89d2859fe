#include "models/fused/llama.h"

#include <utility>

#include "base/status.h"
#include "models/fused/cpu.h"
#include "models/fused/llama_stack.h"

namespace edgetune::fused {
namespace {

template <typename T>
absl::StatusOr<std::unique_ptr<Llama>> LoadAs(
    std::shared_ptr<const ModelFile> file, BlockType type,
    const Llama::Options& options) {
  EDGETUNE_ASSIGN_OR_RETURN(
      Weights weights,
      Weights::Read(std::move(file), {.type = type,
                                      .copy = options.copy_weights,
                                      .int8_linears = options.int8}));
  return std::make_unique<LlamaStack<T>>(std::move(weights), options.recompute);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Llama>> Llama::Load(
    std::shared_ptr<const ModelFile> file, const Options& options) {
  if (options.bf16 && !CpuCanMultiplyBf16()) {
    return Annotate(absl::FailedPreconditionError(
                        "the fused engine cannot multiply bfloat16 on this "
                        "processor, which has no AVX-512"),
                    ErrorKind::kConfig,
                    "precision auto or fp32, or the engine reference");
  }
  return options.bf16
             ? LoadAs<BFloat16>(std::move(file), BlockType::kBF16, options)
             : LoadAs<float>(std::move(file), BlockType::kF32, options);
}

}  // namespace edgetune::fused
