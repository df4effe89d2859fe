#ifndef EDGETUNE_TOOLS_DATA_IMAGE_SURVEY_H_
#define EDGETUNE_TOOLS_DATA_IMAGE_SURVEY_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/output.h"

namespace edgetune {

// What lies in a folder of images (training/images/image_folder.h), each of
// which was decoded.
struct ImageSurvey {
  struct Class {
    std::string name;
    int64_t images = 0;  // that can be read
  };
  struct Range {
    int64_t least = 0, most = 0;
    void Add(int64_t value, bool first);
  };
  std::vector<Class> classes;  // in the order of their numbers
  int64_t images = 0;          // that can be read
  int64_t png = 0, jpeg = 0, grey = 0, colour = 0;  // of these
  Range width, height;                              // of these
  int64_t bytes = 0;                                // of their files
  int64_t test_images = 0;                          // beside them, not decoded
  int64_t left_out = 0;  // files and folders that are no images by name
  std::vector<std::string> faults;  // "path: what is wrong"
};

// Errors as ListImageFolder's; kFailed: interrupted. Images that cannot be read
// are faults, no errors.
absl::StatusOr<ImageSurvey> SurveyImages(const std::string& directory,
                                         const Output& output);

nlohmann::json SurveyJson(const ImageSurvey& survey);
std::string SurveyText(const ImageSurvey& survey);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_DATA_IMAGE_SURVEY_H_
