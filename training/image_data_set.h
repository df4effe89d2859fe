#ifndef EDGETUNE_TRAINING_IMAGE_DATA_SET_H_
#define EDGETUNE_TRAINING_IMAGE_DATA_SET_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/io/model_file.h"
#include "training/example_set.h"

namespace edgetune {

// The data.schema of images.
inline constexpr char kImageSchema[] = "image";

// Images with their classes, in one of two forms.
//
// Two IDX files that lie beside each other: NAME-images-idx3-ubyte [N,H,W] (or
// -images-idx4-ubyte [N,C,H,W]) and NAME-labels-idx1-ubyte [N]. `path` is the
// first of them, or a directory, in which NAME is "train". Pixels stay in the
// mapped file.
//
// A directory without such files and with a folder for each class, in which PNG
// and JPEG files lie: images/image_folder.h. Pixels are decoded at once.
//
// NotFound, DataLoss, InvalidArgument (all kData): no such file, no IDX file,
// another shape than the model takes, more or fewer labels than images, a class
// that the model does not tell; of folders as ReadImageFolder says.
absl::StatusOr<std::unique_ptr<ExampleSet>> ReadImageDataSet(
    const std::string& path, const ModelConfig& model);

// The files that are read of `path`: of its images, and of test images beside
// them. NotFound, InvalidArgument (kData) as above; those of the IDX format
// need not exist.
absl::StatusOr<std::vector<std::string>> ImageFilesIn(const std::string& path);

// Of a directory with NAME "t10k" in it, as MNIST has, or with folders `train`
// and `test`: the path of those images, which nobody trains on. Empty: it has
// none.
std::string TestImagesIn(const std::string& directory);

// Whether `path` is read as folders of classes.
bool IsImageFolder(const std::string& path);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_IMAGE_DATA_SET_H_
