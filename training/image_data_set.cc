#include "training/image_data_set.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "base/mapped_file.h"
#include "base/status.h"
#include "training/idx_file.h"
#include "training/images/image_folder.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kImages[] = {"-images-idx3-ubyte",
                                        "-images-idx4-ubyte"};
constexpr std::string_view kLabels = "-labels-idx1-ubyte";

// NAME's images in this directory; empty: there are none.
std::string ImagesIn(const std::string& directory, std::string_view name) {
  for (const std::string_view ending : kImages) {
    const std::string path = fmt::format("{}/{}{}", directory, name, ending);
    std::error_code ignored;
    if (fs::exists(path, ignored)) return path;
  }
  return "";
}

struct Pair {
  std::string images, labels;
};

absl::StatusOr<Pair> PairOf(const std::string& path) {
  std::error_code ignored;
  const std::string images =
      fs::is_directory(path, ignored) ? ImagesIn(path, "train") : path;
  if (images.empty()) {
    return absl::NotFoundError(
        fmt::format("no train{} or train{} in {}, and no folders of classes",
                    kImages[0], kImages[1], path));
  }
  for (const std::string_view ending : kImages) {
    if (!images.ends_with(ending)) continue;
    return Pair{images, images.substr(0, images.size() - ending.size()) +
                            std::string(kLabels)};
  }
  return absl::InvalidArgumentError(
      fmt::format("{}: images are in files NAME{} or NAME{}", path, kImages[0],
                  kImages[1]));
}

// Maps and parses; the array borrows from `file`.
absl::StatusOr<IdxArray> Open(const std::string& path,
                              std::unique_ptr<MappedFile>& file) {
  EDGETUNE_ASSIGN_OR_RETURN(file, MappedFile::Open(path));
  auto array = ParseIdx(file->bytes());
  if (!array.ok()) return Prefix(array.status(), path);
  return array;
}

absl::Status CheckShapes(const IdxArray& images, const IdxArray& labels,
                         const ImageShape& wanted) {
  const int64_t count = images.shape[0];
  const std::vector<int64_t> coloured = {count, wanted.channels, wanted.height,
                                         wanted.width};
  const std::vector<int64_t> grey = {count, wanted.height, wanted.width};
  if (images.shape != coloured &&
      (wanted.channels != 1 || images.shape != grey)) {
    return absl::InvalidArgumentError(fmt::format(
        "images of shape [{}], the model takes [{},{},{}]",
        fmt::join(images.shape.begin() + 1, images.shape.end(), ","),
        wanted.channels, wanted.height, wanted.width));
  }
  if (labels.shape == std::vector<int64_t>{count}) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} images, and labels of shape [{}]", count,
                  fmt::join(labels.shape, ",")));
}

struct Files {
  std::unique_ptr<MappedFile> images, labels;
};

absl::StatusOr<std::unique_ptr<ExampleSet>> Read(const std::string& path,
                                                 const ModelConfig& model) {
  EDGETUNE_ASSIGN_OR_RETURN(const Pair pair, PairOf(path));
  auto files = std::make_shared<Files>();
  EDGETUNE_ASSIGN_OR_RETURN(const IdxArray images,
                            Open(pair.images, files->images));
  EDGETUNE_ASSIGN_OR_RETURN(const IdxArray labels,
                            Open(pair.labels, files->labels));
  EDGETUNE_RETURN_IF_ERROR(
      Prefix(CheckShapes(images, labels, *model.image), pair.images));
  const auto size = static_cast<size_t>(model.image->size());
  ExampleSet::Parts parts;
  for (size_t i = 0; i < labels.elements.size(); ++i) {
    const int32_t label = labels.elements[i];
    if (label >= model.vocab) {
      return absl::InvalidArgumentError(
          fmt::format("{}: image {} is of a class beyond the model's {}",
                      pair.labels, i, model.vocab));
    }
    parts.examples.push_back(
        {{label}, {1}, images.elements.subspan(i * size, size)});
    parts.positions.push_back(static_cast<int64_t>(i));
  }
  parts.report.schema = kImageSchema;
  parts.report.examples = parts.report.labelled_tokens =
      static_cast<int64_t>(parts.examples.size());
  parts.lender = std::move(files);
  return std::make_unique<ExampleSet>(std::move(parts));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ExampleSet>> ReadImageDataSet(
    const std::string& path, const ModelConfig& model) {
  EDGETUNE_CHECK(model.image.has_value());
  if (IsImageFolder(path)) return ReadImageFolder(path, model);
  auto set = Read(path, model);
  if (set.ok()) return set;
  return Annotate(set.status(), ErrorKind::kData);
}

absl::StatusOr<std::vector<std::string>> ImageFilesIn(const std::string& path) {
  std::vector<std::string> files;
  for (const std::string& images : {path, TestImagesIn(path)}) {
    if (images.empty()) continue;
    if (IsImageFolder(images)) {
      EDGETUNE_ASSIGN_OR_RETURN(const ImageFolder folder,
                                ListImageFolder(images));
      for (const auto& file : folder.files) files.push_back(file.path);
      continue;
    }
    const auto pair = PairOf(images);
    if (!pair.ok()) return Annotate(pair.status(), ErrorKind::kData);
    files.insert(files.end(), {pair->images, pair->labels});
  }
  return files;
}

std::string TestImagesIn(const std::string& directory) {
  if (IsImageFolder(directory)) return TestFolderOf(directory);
  return ImagesIn(directory, "t10k");
}

bool IsImageFolder(const std::string& path) {
  return ImagesIn(path, "train").empty() && HasFolders(path);
}

}  // namespace edgetune
