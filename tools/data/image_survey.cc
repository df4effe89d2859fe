#include "tools/data/image_survey.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "base/status.h"
#include "base/units.h"
#include "tools/child_process.h"
#include "tools/progress.h"
#include "training/image_data_set.h"
#include "training/images/image_folder.h"
#include "training/images/raster.h"

namespace edgetune {
namespace {

constexpr size_t kFaultsShown = 10;

absl::Status AddImage(const ImageFolder::File& file, ImageSurvey& survey) {
  EDGETUNE_ASSIGN_OR_RETURN(const auto mapped, MappedFile::Open(file.path));
  const auto raster = DecodeImage(mapped->bytes(), RasterLimits());
  if (!raster.ok()) return Prefix(raster.status(), file.path);
  const bool first = survey.images++ == 0;
  ++survey.classes[static_cast<size_t>(file.label)].images;
  const bool png = FormatOf(mapped->bytes()) == ImageFormat::kPng;
  ++(png ? survey.png : survey.jpeg);
  ++(raster->channels == 1 ? survey.grey : survey.colour);
  survey.width.Add(raster->width, first);
  survey.height.Add(raster->height, first);
  survey.bytes += static_cast<int64_t>(mapped->bytes().size());
  return absl::OkStatus();
}

std::string RangeText(const ImageSurvey::Range& range) {
  if (range.least == range.most) return fmt::format("{}", range.least);
  return fmt::format("{} to {}", range.least, range.most);
}

}  // namespace

void ImageSurvey::Range::Add(int64_t value, bool first) {
  least = first ? value : std::min(least, value);
  most = first ? value : std::max(most, value);
}

absl::StatusOr<ImageSurvey> SurveyImages(const std::string& directory,
                                         const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(const ImageFolder folder,
                            ListImageFolder(directory));
  ImageSurvey survey;
  survey.left_out = folder.left_out;
  for (const std::string& name : folder.classes) {
    survey.classes.push_back({name});
  }
  const std::string test = TestImagesIn(directory);
  if (!test.empty()) {
    EDGETUNE_ASSIGN_OR_RETURN(const ImageFolder beside, ListImageFolder(test));
    survey.test_images = static_cast<int64_t>(beside.files.size());
    survey.left_out += beside.left_out;
  }
  Progress progress(output, "read", folder.files.size(),
                    Progress::Unit::kCount);
  for (size_t i = 0; i < folder.files.size(); ++i) {
    if (Interrupted()) return InterruptedError();
    const absl::Status added = AddImage(folder.files[i], survey);
    if (!added.ok()) survey.faults.emplace_back(added.message());
    progress.Update(i + 1);
  }
  return survey;
}

nlohmann::json SurveyJson(const ImageSurvey& survey) {
  nlohmann::json classes = nlohmann::json::array();
  for (const ImageSurvey::Class& one : survey.classes) {
    classes.push_back({{"name", one.name}, {"images", one.images}});
  }
  return {
      {"schema", kImageSchema},
      {"examples", survey.images},
      {"classes", classes},
      {"png", survey.png},
      {"jpeg", survey.jpeg},
      {"grey", survey.grey},
      {"colour", survey.colour},
      {"width", {{"least", survey.width.least}, {"most", survey.width.most}}},
      {"height",
       {{"least", survey.height.least}, {"most", survey.height.most}}},
      {"bytes", survey.bytes},
      {"test_images", survey.test_images},
      {"left_out", survey.left_out},
      {"faults", survey.faults}};
}

std::string SurveyText(const ImageSurvey& survey) {
  std::string text = fmt::format(
      "schema      {}\nexamples    {} images: {} PNG, {} JPEG; {} grey, {} in "
      "colour\nsize        width {}, height {} pixels; {} of files\n",
      kImageSchema, survey.images, survey.png, survey.jpeg, survey.grey,
      survey.colour, RangeText(survey.width), RangeText(survey.height),
      FormatBytes(static_cast<uint64_t>(survey.bytes)));
  if (survey.test_images > 0) {
    text +=
        fmt::format("test        {} images beside them\n", survey.test_images);
  }
  text += fmt::format("left out    {}, no images by their names\n",
                      survey.left_out);
  text += fmt::format("unreadable  {}\n", survey.faults.size());
  for (size_t i = 0; i < std::min(kFaultsShown, survey.faults.size()); ++i) {
    text += fmt::format("            {}\n", survey.faults[i]);
  }
  std::vector<std::vector<std::string>> rows = {{"class", "folder", "images"}};
  for (size_t i = 0; i < survey.classes.size(); ++i) {
    rows.push_back({fmt::format("{}", i), survey.classes[i].name,
                    fmt::format("{}", survey.classes[i].images)});
  }
  return text + "\n" + FormatTable(rows, {0, 2});
}

}  // namespace edgetune
