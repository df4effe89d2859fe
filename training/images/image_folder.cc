#include "training/images/image_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <utility>

#include "base/mapped_file.h"
#include "base/status.h"
#include "training/image_data_set.h"
#include "training/images/raster.h"
#include "training/images/resample.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kImageEndings[] = {".png", ".jpg", ".jpeg"};

bool IsImageName(std::string name) {
  std::ranges::transform(name, name.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return std::ranges::any_of(kImageEndings, [&](std::string_view ending) {
    return name.ends_with(ending);
  });
}

// Names in a directory, sorted by bytes, without those that begin with a dot.
struct Listing {
  std::vector<std::string> folders, files;
  int64_t others = 0;
};

absl::StatusOr<Listing> List(const std::string& directory) {
  Listing found;
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end;
       at.increment(error)) {
    std::string name = at->path().filename().string();
    if (name.starts_with('.')) continue;
    std::error_code ignored;
    if (at->is_directory(ignored)) {
      found.folders.push_back(std::move(name));
    } else if (at->is_regular_file(ignored) && IsImageName(name)) {
      found.files.push_back(std::move(name));
    } else {
      ++found.others;
    }
  }
  if (error) return ErrnoStatus(error.value(), "cannot read", directory);
  std::ranges::sort(found.folders);
  std::ranges::sort(found.files);
  return found;
}

std::vector<std::string> FoldersIn(const std::string& directory) {
  auto listing = List(directory);
  return listing.ok() ? std::move(listing->folders)
                      : std::vector<std::string>();
}

bool IsPair(const std::string& directory) {
  return HasFolders(directory + "/train") && HasFolders(directory + "/test");
}

absl::Status CheckPair(const std::string& directory) {
  const auto train = FoldersIn(directory + "/train");
  const auto test = FoldersIn(directory + "/test");
  if (train == test) return absl::OkStatus();
  std::vector<std::string> lone;
  std::ranges::set_symmetric_difference(train, test, std::back_inserter(lone));
  return absl::InvalidArgumentError(
      fmt::format("{}: train and test hold other classes, {} is in one of them",
                  directory, lone.front()));
}

absl::StatusOr<ImageFolder> ListClasses(const std::string& directory) {
  ImageFolder folder;
  EDGETUNE_ASSIGN_OR_RETURN(Listing top, List(directory));
  folder.classes = std::move(top.folders);
  folder.left_out = top.others + static_cast<int64_t>(top.files.size());
  for (size_t i = 0; i < folder.classes.size(); ++i) {
    const std::string path = directory + "/" + folder.classes[i];
    EDGETUNE_ASSIGN_OR_RETURN(const Listing listing, List(path));
    for (const std::string& name : listing.files) {
      folder.files.push_back({path + "/" + name, static_cast<int32_t>(i)});
    }
    folder.left_out +=
        listing.others + static_cast<int64_t>(listing.folders.size());
  }
  if (!folder.files.empty()) return folder;
  return Annotate(absl::InvalidArgumentError(fmt::format(
                      "{}: {} folders, and no {} in them", directory,
                      folder.classes.size(), fmt::join(kImageEndings, ", "))),
                  ErrorKind::kData,
                  "a folder for each class, its images in it");
}

absl::Status CheckModel(const ImageFolder& folder, const std::string& directory,
                        const ModelConfig& model, uint64_t most_bytes) {
  const ImageShape& shape = *model.image;
  if (shape.channels != 1 && shape.channels != 3) {
    return absl::InvalidArgumentError(
        fmt::format("{}: images have 1 or 3 channels, the model takes {}",
                    directory, shape.channels));
  }
  if (static_cast<int64_t>(folder.classes.size()) != model.vocab) {
    return Annotate(absl::InvalidArgumentError(fmt::format(
                        "{}: {} folders of classes, the model tells {} apart",
                        directory, folder.classes.size(), model.vocab)),
                    ErrorKind::kData,
                    "a class without an image is an empty folder");
  }
  const auto bytes = static_cast<uint64_t>(shape.size());
  if (bytes <= most_bytes / folder.files.size()) return absl::OkStatus();
  return Annotate(
      absl::ResourceExhaustedError(fmt::format(
          "{}: {} images of {} bytes each for this model, decoded at most {}",
          directory, folder.files.size(), bytes, most_bytes)),
      ErrorKind::kData,
      "a model of smaller images, or files of the IDX format, which stay on "
      "the disk");
}

absl::Status DecodeInto(const std::string& path, const ImageShape& shape,
                        std::span<uint8_t> out) {
  EDGETUNE_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  const auto raster = DecodeImage(file->bytes(), RasterLimits());
  if (!raster.ok()) return Prefix(raster.status(), path);
  Resample(*raster, shape, out);
  return absl::OkStatus();
}

// Every file, so that an error says how many there are.
absl::StatusOr<std::vector<uint8_t>> DecodeAll(
    const std::vector<ImageFolder::File>& files, const ImageShape& shape) {
  const auto size = static_cast<size_t>(shape.size());
  std::vector<uint8_t> pixels(files.size() * size);
  absl::Status first;
  size_t failed = 0;
  for (size_t i = 0; i < files.size(); ++i) {
    const absl::Status status = DecodeInto(
        files[i].path, shape, std::span(pixels).subspan(i * size, size));
    if (!status.ok() && failed++ == 0) first = status;
  }
  if (failed == 0) return pixels;
  if (failed == 1) return first;
  return absl::Status(first.code(), fmt::format("{}; and {} more of {} images",
                                                std::string(first.message()),
                                                failed - 1, files.size()));
}

absl::StatusOr<std::unique_ptr<ExampleSet>> ReadFolder(
    const std::string& directory, const ModelConfig& model,
    uint64_t most_bytes) {
  EDGETUNE_ASSIGN_OR_RETURN(const ImageFolder folder,
                            ListImageFolder(directory));
  EDGETUNE_RETURN_IF_ERROR(CheckModel(folder, directory, model, most_bytes));
  EDGETUNE_ASSIGN_OR_RETURN(std::vector<uint8_t> decoded,
                            DecodeAll(folder.files, *model.image));
  const auto pixels =
      std::make_shared<const std::vector<uint8_t>>(std::move(decoded));
  const auto size = static_cast<size_t>(model.image->size());
  ExampleSet::Parts parts;
  for (size_t i = 0; i < folder.files.size(); ++i) {
    parts.examples.push_back({{folder.files[i].label},
                              {1},
                              std::span(*pixels).subspan(i * size, size)});
    parts.positions.push_back(static_cast<int64_t>(i));
  }
  parts.report.schema = kImageSchema;
  parts.report.examples = parts.report.labelled_tokens =
      static_cast<int64_t>(parts.examples.size());
  parts.report.other_files = folder.left_out;
  parts.lender = pixels;
  return std::make_unique<ExampleSet>(std::move(parts));
}

}  // namespace

bool HasFolders(const std::string& directory) {
  return !FoldersIn(directory).empty();
}

std::string TrainFolderOf(const std::string& directory) {
  return IsPair(directory) ? directory + "/train" : directory;
}

std::string TestFolderOf(const std::string& directory) {
  return IsPair(directory) ? directory + "/test" : "";
}

absl::StatusOr<ImageFolder> ListImageFolder(const std::string& directory) {
  if (IsPair(directory)) {
    const absl::Status alike = CheckPair(directory);
    if (!alike.ok()) return Annotate(alike, ErrorKind::kData);
  }
  auto folder = ListClasses(TrainFolderOf(directory));
  if (folder.ok()) return folder;
  return Annotate(folder.status(), ErrorKind::kData);
}

absl::StatusOr<std::unique_ptr<ExampleSet>> ReadImageFolder(
    const std::string& directory, const ModelConfig& model,
    uint64_t most_bytes) {
  EDGETUNE_CHECK(model.image.has_value());
  auto set = ReadFolder(directory, model, most_bytes);
  if (set.ok()) return set;
  return Annotate(set.status(), ErrorKind::kData);
}

}  // namespace edgetune
