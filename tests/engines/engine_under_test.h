#ifndef EDGETUNE_TESTS_ENGINES_ENGINE_UNDER_TEST_H_
#define EDGETUNE_TESTS_ENGINES_ENGINE_UNDER_TEST_H_

// The tests of this folder are built once for each engine, which must all pass
// the same: the one of a program is defined in torch_under_test.cc or
// fused_under_test.cc.

#include <cstdint>
#include <memory>
#include <vector>

#include "training/engine_loader.h"
#include "training/local_training.h"

namespace edgetune::testing {

absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainerUnderTest(
    std::shared_ptr<const ModelFile> model, const EngineOptions& options);
absl::StatusOr<std::unique_ptr<LanguageModel>> MakeLanguageModelUnderTest(
    std::shared_ptr<const ModelFile> model, const EngineOptions& options);
absl::StatusOr<std::unique_ptr<Teacher>> MakeTeacherUnderTest(
    std::shared_ptr<const ModelFile> model, const ModelConfig& student,
    std::vector<int32_t> tokens, const EngineOptions& options);
// ComputeGradient of a trainer that MakeTrainerUnderTest made.
absl::StatusOr<BatchGradient> GradientOf(Trainer& trainer,
                                         const Adapter& adapter,
                                         const ExampleSource& examples,
                                         int64_t micro_batch);

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_ENGINES_ENGINE_UNDER_TEST_H_
