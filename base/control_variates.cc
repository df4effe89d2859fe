#include "base/control_variates.h"

#include <cstddef>

#include "base/status.h"

namespace edgetune {

ParameterVector ControlCorrection(std::span<const float> server,
                                  std::span<const float> own) {
  EDGETUNE_CHECK(server.size() == own.size());
  ParameterVector out(server.size());
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<float>(double{server[i]} - double{own[i]});
  }
  return out;
}

ParameterVector NextOwnControl(std::span<const float> correction,
                               std::span<const float> update, double way) {
  EDGETUNE_CHECK(correction.size() == update.size());
  ParameterVector out(correction.size());
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] =
        static_cast<float>(-double{correction[i]} - double{update[i]} / way);
  }
  return out;
}

ParameterVector NextServerControl(std::span<const float> server,
                                  std::span<const float> mean_update,
                                  const ServerControlStep& step) {
  EDGETUNE_CHECK(server.size() == mean_update.size());
  ParameterVector out(server.size());
  for (size_t i = 0; i < out.size(); ++i) {
    const double change = -double{server[i]} - mean_update[i] / step.way;
    out[i] = static_cast<float>(double{server[i]} + step.share * change);
  }
  return out;
}

}  // namespace edgetune
