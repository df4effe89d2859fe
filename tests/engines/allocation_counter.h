#ifndef EDGETUNE_TESTS_ENGINES_ALLOCATION_COUNTER_H_
#define EDGETUNE_TESTS_ENGINES_ALLOCATION_COUNTER_H_

// A program with allocation_counter.cc has malloc, operator new and their kin
// replaced by ones that count. oneDNN allocates whenever it runs a product and
// OpenMP when it starts threads: whose call it was is told from the shared
// object that the return address lies in.

#include <cstdint>
#include <string>

namespace edgetune::testing {

struct Allocations {
  int64_t libraries = 0;  // calls from libdnnl and libgomp
  int64_t others = 0;     // from everything else
  int64_t live = 0;       // bytes in use, whoever has them
};

// Since the program began, of all threads.
Allocations CountAllocations();
// Where the last calls of others came from, as "program+0x1234", the latest
// first: for addr2line.
std::string LastCallers(int64_t count);

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_ENGINES_ALLOCATION_COUNTER_H_
