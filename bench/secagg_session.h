#ifndef EDGETUNE_BENCH_SECAGG_SESSION_H_
#define EDGETUNE_BENCH_SECAGG_SESSION_H_

#include <cstddef>
#include <cstdint>

namespace edgetune::secagg {

// What the messages of one masking session cost, from advertisement to the
// masks: keys, signatures, shares, encryption. Vectors are short, records are
// not stored, nothing travels.
struct SessionCost {
  double server_s = 0;    // processor, all members together
  double client_s = 0;    // processor, one survivor
  size_t up_bytes = 0;    // of the same survivor, without the vector
  size_t down_bytes = 0;  // without the model
};

// All `clients` share keys; the last `lost` of them never upload. The sum is
// compared with the survivors' inputs.
SessionCost RunSession(uint32_t clients, uint32_t lost);

}  // namespace edgetune::secagg

#endif  // EDGETUNE_BENCH_SECAGG_SESSION_H_
