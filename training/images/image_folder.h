#ifndef EDGETUNE_TRAINING_IMAGES_IMAGE_FOLDER_H_
#define EDGETUNE_TRAINING_IMAGES_IMAGE_FOLDER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "training/example_set.h"

namespace edgetune {

// Images as people have them: a folder for each class, in it files ending in
// .png, .jpg or .jpeg in letters of any case. Class i is the i-th folder, by
// the bytes of their names; a folder may be empty. Where the directory itself
// holds `train` and `test` and these hold folders, they are two data sets of
// the same classes.
//
// What begins with a dot is not looked at. All else (other endings, what lies
// beside the classes, folders in a class) is left out and counted.
struct ImageFolder {
  struct File {
    std::string path;
    int32_t label = 0;
  };
  std::vector<std::string> classes;  // names of folders
  std::vector<File> files;           // by class, then by the bytes of names
  int64_t left_out = 0;
};

// Whether folders lie in this directory.
bool HasFolders(const std::string& directory);

// `train` of a directory with such a pair, else the directory itself.
std::string TrainFolderOf(const std::string& directory);
// `test` of such a pair; empty: it has none.
std::string TestFolderOf(const std::string& directory);

// What is there, files unopened. NotFound, FailedPrecondition,
// PermissionDenied: cannot be read. InvalidArgument: no folders in it, no image
// in them; the classes of its `train` and `test` differ. All kData.
absl::StatusOr<ImageFolder> ListImageFolder(const std::string& directory);

// Pixels of a data set that are decoded and kept.
inline constexpr uint64_t kMostDecodedBytes = uint64_t{2} << 30;

// All images, decoded and as large as the model takes them (raster.h,
// resample.h): a byte for each of the model's values, `most_bytes` at most, and
// beside them one image at a time as its file has it.
//
// As above, and kData: InvalidArgument, the model tells more or fewer classes
// apart than there are folders, or takes neither 1 nor 3 channels; DataLoss or
// InvalidArgument, files that are no images (the first is named, the others
// counted); ResourceExhausted, more than `most_bytes`.
absl::StatusOr<std::unique_ptr<ExampleSet>> ReadImageFolder(
    const std::string& directory, const ModelConfig& model,
    uint64_t most_bytes = kMostDecodedBytes);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_IMAGES_IMAGE_FOLDER_H_
