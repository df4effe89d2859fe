#ifndef EDGETUNE_BASE_CONTROL_VARIATES_H_
#define EDGETUNE_BASE_CONTROL_VARIATES_H_

// The algebra of SCAFFOLD's control variates (Karimireddy et al. 2020,
// "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning",
// Algorithm 1, option II). x is the incoming adapter, y what K local steps of
// plain SGD at rate lr make of it, D = y - x the update, c the server's control
// variate, c_i a device's; `way` is K lr. All vectors of one function have the
// same size, the coordinates that a round trains; arithmetic is in double,
// rounded to float32 once. Pure functions, thread-safe.

#include <span>

#include "base/parameters.h"

namespace edgetune {

// c - c_i: what each local step adds to its gradient.
ParameterVector ControlCorrection(std::span<const float> server,
                                  std::span<const float> own);

// The device's next variate, c_i - c + (x - y) / (K lr), from the correction
// that its steps had.
ParameterVector NextOwnControl(std::span<const float> correction,
                               std::span<const float> update, double way);

struct ServerControlStep {
  double way = 1;
  double share = 1;  // |S| / N: devices behind the mean, of all there are
};

// The server's next variate, c + |S| / N mean(c_i+ - c_i). Devices do not send
// that difference: by the line above it is -c - D / (K lr), whose mean follows
// from the plain mean of the updates where all devices make equal steps.
ParameterVector NextServerControl(std::span<const float> server,
                                  std::span<const float> mean_update,
                                  const ServerControlStep& step);

}  // namespace edgetune

#endif  // EDGETUNE_BASE_CONTROL_VARIATES_H_
