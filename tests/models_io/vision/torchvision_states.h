#ifndef EDGETUNE_TESTS_MODELS_IO_VISION_TORCHVISION_STATES_H_
#define EDGETUNE_TESTS_MODELS_IO_VISION_TORCHVISION_STATES_H_

// Names and shapes of torchvision's networks, from vectors/vision_states.txt,
// which tests/training_torch/make_mobile_vectors.py makes.

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "models/io/model_file.h"

namespace edgetune {

using Named = std::pair<std::string, std::vector<int64_t>>;

// Of one architecture with 3 channels and 1,000 classes.
struct State {
  size_t parameters = 0;
  std::vector<Named> trained, statistics;
  std::vector<std::string> counters;  // num_batches_tracked
};

inline std::vector<int64_t> ShapeOf(const std::string& text) {
  std::vector<int64_t> shape;
  std::istringstream in(text);
  for (std::string side; std::getline(in, side, ',');) {
    shape.push_back(std::stoll(side));
  }
  return shape;
}

// A line "= NAME PARAMETERS" a network, then a line a module: its name, its
// weight's shape and, where it has one, "bias" or "norm".
inline std::map<std::string, State> States() {
  std::ifstream file(std::string(EDGETUNE_SOURCE_DIR) +
                     "/tests/models_io/vectors/vision_states.txt");
  std::map<std::string, State> states;
  State* state = nullptr;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name, shape, kind;
    words >> name >> shape >> kind;
    if (name == "#") continue;
    if (name == "=") {
      state = &states[shape];
      state->parameters = std::stoull(kind);
      continue;
    }
    const std::vector<int64_t> weight = ShapeOf(shape);
    state->trained.push_back({name + ".weight", weight});
    if (kind.empty()) continue;
    state->trained.push_back({name + ".bias", {weight[0]}});
    if (kind == "bias") continue;
    state->statistics.push_back({name + ".running_mean", weight});
    state->statistics.push_back({name + ".running_var", weight});
    state->counters.push_back(name + ".num_batches_tracked");
  }
  return states;
}

inline ModelConfig ConfigOf(const std::string& architecture,
                            const VisionVariant& variant = {}) {
  ModelConfig config;
  config.architecture = architecture;
  config.image = ImageShape{3, 32, 32};
  config.vocab = 1000;
  config.variant = variant;
  return config;
}

}  // namespace edgetune

#endif  // EDGETUNE_TESTS_MODELS_IO_VISION_TORCHVISION_STATES_H_
