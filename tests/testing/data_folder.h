#ifndef EDGETUNE_TESTS_TESTING_DATA_FOLDER_H_
#define EDGETUNE_TESTS_TESTING_DATA_FOLDER_H_

#include <string>

namespace edgetune::testing {

// Where the small vectors and models that oracles made are.
inline const std::string kData =
    std::string(EDGETUNE_SOURCE_DIR) + "/tests/data/";

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_TESTING_DATA_FOLDER_H_
