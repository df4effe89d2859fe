#ifndef EDGETUNE_TRAINING_MEMORY_PREDICTION_H_
#define EDGETUNE_TRAINING_MEMORY_PREDICTION_H_

// What training with the fused engine has in memory at its highest, as
// arithmetic over sizes: nothing is opened and nothing allocated. The formulas
// follow the buffers of models/fused and training/; tests/engines compares the
// sum with a process. Pure functions, thread-safe.

#include <cstdint>
#include <string>
#include <vector>

#include "models/io/adapter/adapter_file.h"
#include "models/io/model_file.h"
#include "training/engine_loader.h"

namespace edgetune {

struct ExampleSize {
  int64_t tokens = 0;
  int64_t labels = 0;  // tokens that are predicted
};

// What is to be trained, where, and on what.
struct MemoryWork {
  ModelConfig model;
  std::vector<TensorInfo> tensors;  // of its file
  bool bf16 = false;  // products and activations are bfloat16, not float32
  bool int8 = false;  // linears are in a byte, with a scale a row
  int threads = 1;    // of the engine, at least 1
  AdapterSpec lora;   // fits the model
  // Coordinates of the factors that are trained, in the round with most.
  int64_t trained = 0;
  int64_t moments = 2;     // of the optimiser, for each of them
  bool corrected = false;  // each has a correction too (TrainConfig)
  bool taught = false;     // examples have targets (ExampleSource)
  // The examples of every step, in the order of training; all rounds.
  std::vector<std::vector<ExampleSize>> steps;
  // Scored by the same trainer, each set by itself.
  std::vector<ExampleSize> held_out;
  std::vector<ExampleSize> incoming;  // of those that are trained on
  // Of the process before it has the engine: program, data, adapter.
  uint64_t resident = 0;
};

// What the memory of a given work depends on.
struct MemoryChoice {
  WeightMemory weights = WeightMemory::kMapped;
  bool recompute = false;
  int64_t micro_batch = 1;
  int64_t max_length = 0;  // longer examples are cut to this; 0: none is
  bool operator==(const MemoryChoice&) const = default;
};

struct MemoryPart {
  std::string name;  // for people
  uint64_t bytes = 0;
};

struct MemoryPrediction {
  std::vector<MemoryPart> parts;
  uint64_t peak = 0;  // their sum
};

// `work` has at least one step, `choice` a micro-batch of at least 1.
MemoryPrediction PredictMemory(const MemoryWork& work,
                               const MemoryChoice& choice);

// How long training takes with one choice beside another, in no unit: tokens
// that its passes multiply, what a pass costs however short it is, and the work
// done again. Measured, not derived; the same conditions.
double RelativeTime(const MemoryWork& work, const MemoryChoice& choice);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_MEMORY_PREDICTION_H_
