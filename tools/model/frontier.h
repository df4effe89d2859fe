#ifndef EDGETUNE_TOOLS_MODEL_FRONTIER_H_
#define EDGETUNE_TOOLS_MODEL_FRONTIER_H_

// Ways to make one model smaller, measured: which of them no other beats, and
// how that looks. Pure functions, thread-safe.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace edgetune {

struct CompressedModel {
  std::string name;  // "28 layers, q4_0 by examples"
  std::string file;  // its name in the directory of results
  uint64_t bytes = 0;
  double perplexity = 0;
  // Seconds to the first token of an answer, and of each further one.
  double first_token = 0, token = 0;
  uint64_t peak_memory = 0;  // bytes, of the process that answered
  bool on_frontier = false;
};

// On the frontier is who is smaller than everybody of a lower or equal
// perplexity; of equals the first. Sorts by bytes, then perplexity.
void MarkFrontier(std::vector<CompressedModel>& models);

struct CompressionTarget {
  std::optional<uint64_t> bytes;
  std::optional<double> token;  // seconds

  bool Meets(const CompressedModel& model) const;
};
// Who of those that meet it has the lowest perplexity; nullptr: nobody does.
const CompressedModel* BestWithin(const std::vector<CompressedModel>& models,
                                  const CompressionTarget& target);

std::string FrontierTable(const std::vector<CompressedModel>& models);
nlohmann::json FrontierJson(const std::vector<CompressedModel>& models);
// Bytes and perplexity on logarithmic axes, the frontier joined by a line, as a
// file of SVG. At least one model.
std::string FrontierSvg(const std::vector<CompressedModel>& models);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_MODEL_FRONTIER_H_
