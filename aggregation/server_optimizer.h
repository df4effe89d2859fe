#ifndef EDGETUNE_AGGREGATION_SERVER_OPTIMIZER_H_
#define EDGETUNE_AGGREGATION_SERVER_OPTIMIZER_H_

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/factors.h"
#include "base/parameters.h"

namespace edgetune {

// Turns the combined update into the next adapter (Reddi et al. 2021,
// "Adaptive Federated Optimization": the update is a pseudo-gradient). An
// update may hold some of the adapter's coordinates only: adapter and moments
// of the others do not move. Moments are durable state. One thread.
class ServerOptimizer {
 public:
  virtual ~ServerOptimizer() = default;
  // adapter += step(update), where `ranges` say which coordinates an update
  // has. Nothing changes on error. InvalidArgument: the adapter has another
  // size, the ranges are not all of the update or not within the adapter.
  // DataLoss: the step is not finite.
  virtual absl::Status Step(std::span<const float> update,
                            std::span<const CoordinateRange> ranges,
                            ParameterVector& adapter) = 0;
  // Bytes from which MakeServerOptimizer continues exactly; "" when stateless.
  virtual std::string SaveState() const = 0;
};

// D is the combined update, x the adapter; from zero moments, but v from
// epsilon^2.
//   kSgd       x += lr D                         McMahan et al. 2017, FedAvg
//   kMomentum  m = beta1 m + D, x += lr m        Hsu et al. 2019, FedAvgM
//   kAdam, kYogi, kAdagrad                       Reddi et al. 2021, Algorithm 2
//              m = beta1 m + (1 - beta1) D, x += lr m / (sqrt(v) + epsilon)
//     kAdam    v = beta2 v + (1 - beta2) D^2
//     kYogi    v = v - (1 - beta2) D^2 sign(v - D^2)
//     kAdagrad v = v + D^2
struct ServerOptimizerOptions {
  enum class Kind { kSgd, kMomentum, kAdam, kYogi, kAdagrad } kind = Kind::kSgd;
  double lr = 1.0;
  double beta1 = 0.9;     // of all but kSgd: in [0, 1)
  double beta2 = 0.99;    // of kAdam and kYogi: in [0, 1)
  double epsilon = 1e-3;  // of the last three: the paper's tau, above 0
};

// The words of a plan: "sgd", "momentum", "adam", "yogi", "adagrad".
std::span<const std::string_view> ServerOptimizerNames();
std::string_view ServerOptimizerName(ServerOptimizerOptions::Kind kind);
// InvalidArgument: no such word.
absl::StatusOr<ServerOptimizerOptions::Kind> ParseServerOptimizer(
    std::string_view name);

// `coordinates` are the adapter's. InvalidArgument or DataLoss: options out of
// range, a state of another size or kind.
absl::StatusOr<std::unique_ptr<ServerOptimizer>> MakeServerOptimizer(
    const ServerOptimizerOptions& options, size_t coordinates,
    std::string_view state);

}  // namespace edgetune

#endif  // EDGETUNE_AGGREGATION_SERVER_OPTIMIZER_H_
