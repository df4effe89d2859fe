#ifndef EDGETUNE_MODELS_IO_ADAPTER_CORE_ADAPTER_H_
#define EDGETUNE_MODELS_IO_ADAPTER_CORE_ADAPTER_H_

// Adapters of which a small square between fixed factors is trained: W becomes
// W + s B R A with R [r, r] (Ponkshe et al., 2024, "Initialization using Update
// Approximation is a Silver Bullet for Extremely Efficient Low-Rank
// Fine-Tuning", LoRA-SB; Singhal et al., 2025, "Fed-SB"). Only runs and
// trainers know them: for all else there is PlainAdapter. Pure functions,
// thread-safe.

#include <cstdint>
#include <optional>
#include <span>

#include "base/parameters.h"
#include "models/io/adapter/adapter_file.h"

namespace edgetune {

// A plain layout with lora_R [r, r] after A and B of each module.
ParameterLayout WithCores(const ParameterLayout& plain);
bool HasCores(const ParameterLayout& layout);

// Of a layout WithCores: rows of A orthonormal, columns of B too, R zero. A
// function of layout and seed alone.
ParameterVector InitialCoreAdapter(const ParameterLayout& layout,
                                   uint64_t seed);

// product [out, r] = B R of one module, row-major; sums are double, rounded
// once.
void TimesCore(std::span<const float> b, std::span<const float> core,
               std::span<float> product);

// The ordinary adapter that computes the same: A, and B R in B's place. Without
// cores the adapter itself.
Adapter PlainAdapter(Adapter adapter);
// The same without a copy where there are no cores: `adapter` itself, or what
// is made in `made`.
const Adapter& PlainForm(const Adapter& adapter, std::optional<Adapter>& made);

}  // namespace edgetune

#endif  // EDGETUNE_MODELS_IO_ADAPTER_CORE_ADAPTER_H_
