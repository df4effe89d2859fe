#ifndef EDGETUNE_SIMULATIONS_POPULATION_CLIENT_NAMES_H_
#define EDGETUNE_SIMULATIONS_POPULATION_CLIENT_NAMES_H_

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace edgetune {

// Names of clients, for files, logs, reports and rosters: 1 to 64 small
// letters, digits, '.', '_' and '-' (as IsPartyId wants a device's), the first
// a letter or digit; no two are equal. Stateless.

// "client-0001" and on; as many digits as the last one needs, at least 4.
std::vector<std::string> NumberedNames(size_t count);

// A name for each of `values` (different texts from the data, of any bytes). A
// value that is a name of at most 48 characters keeps it; of the others, a
// capital becomes small, what may not stand in a name '_', an 'x' stands before
// what may not be first, what is longer than 48 is cut, and "-2", "-3", ...
// tells equal ones apart, in the order of `values`.
std::vector<std::string> NamesOf(std::span<const std::string_view> values);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_POPULATION_CLIENT_NAMES_H_
