#include "tools/model/frontier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace edgetune {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

CompressedModel Made(const std::string& name, uint64_t bytes, double perplexity,
                     double token = 0.01) {
  return {.name = name,
          .file = name + ".gguf",
          .bytes = bytes,
          .perplexity = perplexity,
          .first_token = 0.2,
          .token = token,
          .peak_memory = 5'000'000};
}

std::vector<std::string> NamesOnFrontier(
    const std::vector<CompressedModel>& models) {
  std::vector<std::string> out;
  for (const CompressedModel& model : models) {
    if (model.on_frontier) out.push_back(model.name);
  }
  return out;
}

TEST(FrontierTest, IsWhoNobodySmallerIsAsGoodAs) {
  std::vector<CompressedModel> models = {
      Made("large", 100, 10), Made("worse", 90, 12), Made("small", 50, 11),
      Made("tied", 60, 11),   Made("same", 50, 11),  Made("tiny", 20, 40)};
  MarkFrontier(models);
  EXPECT_THAT(NamesOnFrontier(models), ElementsAre("tiny", "small", "large"));
  EXPECT_EQ(models.front().name, "tiny");
  EXPECT_EQ(models.back().name, "large");
}

TEST(FrontierTest, TheBestMeetsEveryTarget) {
  const std::vector<CompressedModel> models = {
      Made("tiny", 20, 40, 0.001), Made("small", 50, 11, 0.02),
      Made("quick", 60, 12, 0.005), Made("large", 100, 10, 0.03)};
  const auto best = [&](const CompressionTarget& target) -> std::string {
    const CompressedModel* model = BestWithin(models, target);
    return model == nullptr ? "nobody" : model->name;
  };
  EXPECT_EQ(best({}), "large");
  EXPECT_EQ(best({.bytes = 99}), "small");
  EXPECT_EQ(best({.bytes = 50}), "small");
  EXPECT_EQ(best({.bytes = 99, .token = 0.01}), "quick");
  EXPECT_EQ(best({.token = 0.001}), "tiny");
  EXPECT_EQ(best({.bytes = 19}), "nobody");
}

TEST(FrontierTest, TableAndJsonSayWhatWasMeasured) {
  std::vector<CompressedModel> models = {Made("a", 98'400'000, 12.345),
                                         Made("b", 150'000'000, 13)};
  MarkFrontier(models);
  const std::string table = FrontierTable(models);
  for (const char* words : {"98.4 MB", "12.35", "200.0 ms", "10.0 ms", "*"}) {
    EXPECT_THAT(table, HasSubstr(words));
  }
  const nlohmann::json json = FrontierJson(models);
  EXPECT_EQ(json[0]["file"], "a.gguf");
  EXPECT_EQ(json[0]["perplexity"], 12.345);
  EXPECT_EQ(json[0]["on_frontier"], true);
  EXPECT_EQ(json[1]["on_frontier"], false);
}

TEST(FrontierTest, ThePictureHoldsEveryModelAndNoMarkupOfNames) {
  std::vector<CompressedModel> models = {Made("<b>&", 20, 40),
                                         Made("other", 50, 11)};
  MarkFrontier(models);
  const std::string svg = FrontierSvg(models);
  EXPECT_THAT(svg, HasSubstr("&lt;b>&amp;"));
  EXPECT_THAT(svg, Not(HasSubstr("<b>")));
  EXPECT_THAT(svg, HasSubstr(">other<"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  // One alone has axes too.
  models.resize(1);
  EXPECT_THAT(FrontierSvg(models), Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace edgetune
