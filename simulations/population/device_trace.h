#ifndef EDGETUNE_SIMULATIONS_POPULATION_DEVICE_TRACE_H_
#define EDGETUNE_SIMULATIONS_POPULATION_DEVICE_TRACE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "simulations/population/device_profile.h"

namespace edgetune {

// Devices as somebody measured them, one a line of a CSV file (plain, .gz or
// .zst): the format is docs/reference/simulation.md's. Rows in order, at least
// one, at most kMaxTraceRows. Blank lines are left out; nothing is quoted.
//
// InvalidArgument (kData), as "file:line:column: got ..., wanted ..." with the
// column's name: a header or a number of values other than the format's, a
// value that is none or out of range, no row, too many. And the errors of
// LineReader.
inline constexpr size_t kMaxTraceRows = 100'000;
absl::StatusOr<std::vector<DeviceProfile>> ReadDeviceTrace(
    const std::string& path);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_POPULATION_DEVICE_TRACE_H_
