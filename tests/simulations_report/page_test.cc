#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "simulations/report/page/chart.h"
#include "simulations/report/page/html.h"
#include "simulations/report/page/run_charts.h"
#include "simulations/report/page/run_page.h"
#include "tests/simulations_report/run_log.h"

// What parsers of HTML and XML make of whole pages is in oracle_test.py.

namespace edgetune {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pointwise;

TEST(PageTest, TextOfOthersIsNoMarkup) {
  EXPECT_EQ(HtmlText("<b a=\"x\" c='y'>&amp;"),
            "&lt;b a=&quot;x&quot; c=&#39;y&#39;&gt;&amp;amp;");
  EXPECT_EQ(HtmlText("a\x1b[0m\n\u202e\xff"), "a\\x1b[0m\\x0a\\u202e\\xff");
  EXPECT_EQ(HtmlText("é漢😀"), "é漢😀");
}

TEST(PageTest, LongTextIsCutBetweenCharacters) {
  EXPECT_EQ(Trimmed("héllo", 5), "héllo");
  EXPECT_EQ(Trimmed("héllo", 4), "hél…");
  EXPECT_EQ(Trimmed("漢漢漢", 2), "漢…");
  EXPECT_EQ(Trimmed("", 3), "");
}

TEST(PageTest, NumbersAreForPeople) {
  EXPECT_EQ(Grouped(0), "0");
  EXPECT_EQ(Grouped(999), "999");
  EXPECT_EQ(Grouped(-1234567), "-1,234,567");
  EXPECT_EQ(PerplexityText(28.666), "28.67");
  EXPECT_EQ(PerplexityText(12345.6), "12,346");
  EXPECT_EQ(PerplexityText(1e12), "1.00e+12");
  EXPECT_EQ(PerplexityText(HUGE_VAL), "above 1e308");
  EXPECT_EQ(PercentText(0.1234), "12.3 %");
}

// By hand, from the paper's rule: the smallest of 1, 2, 5 x 10^k that needs no
// more ticks than asked for.
TEST(PageTest, TicksAreNice) {
  const auto ticks = [](const Axis& axis) { return axis.Ticks(); };
  EXPECT_THAT(ticks(NiceAxis(20, 107, 5)),
              ElementsAre(20, 40, 60, 80, 100, 120));
  EXPECT_THAT(
      ticks(NiceAxis(0, 1, 5)),
      Pointwise(DoubleNear(1e-12), std::vector<double>{0, .2, .4, .6, .8, 1}));
  EXPECT_THAT(ticks(NiceAxis(-3, 7, 5)), ElementsAre(-4, -2, 0, 2, 4, 6, 8));
  EXPECT_THAT(ticks(NiceAxis(0, 2, 6, true)), ElementsAre(0, 1, 2));
  EXPECT_EQ(NiceAxis(0, 1, 5).Label(0.2 * 3), "0.6");
  EXPECT_EQ(NiceAxis(0, 1, 5).Label(NiceAxis(0, 1, 5).Ticks()[0]), "0.0");
  EXPECT_EQ(NiceAxis(0, 9000, 5).Label(8000), "8,000");
  EXPECT_EQ(NiceAxis(3, 3.001, 5).Label(3.0002), "3.0002");
}

TEST(PageTest, AnAxisHoldsItsDataWhateverItIs) {
  for (const double low : {-1e300, -5.0, 0.0, 1e-300, 1.0, 99.99, 1e18}) {
    for (const double width : {0.0, 1e-12, 0.3, 7.0, 1e9, 1e300}) {
      const Axis axis = NiceAxis(low, low + width, 5);
      const double slack = axis.step * 1e-6;
      EXPECT_LE(axis.low, low + slack) << low << " " << width;
      EXPECT_GE(axis.high, low + width - slack) << low << " " << width;
      EXPECT_GT(axis.high, axis.low) << low << " " << width;
      EXPECT_LE(axis.Ticks().size(), 9u) << low << " " << width;
    }
  }
}

TEST(PageTest, ChartsOfNothingAreNothing) {
  EXPECT_EQ(RenderLineChart({}), "");
  EXPECT_EQ(RenderStackedChart({}), "");
  EXPECT_EQ(RenderSpreadChart({}), "");
}

TEST(PageTest, NamesAtTheEndOfLinesDoNotOverlap) {
  LineChart chart;
  for (int i = 0; i < 8; ++i) {
    chart.series.push_back({"n" + std::to_string(i), {{0, 5}, {1, 5.0}}});
  }
  const std::string svg = RenderLineChart(chart);
  std::vector<double> heights;
  size_t at = 0;
  while ((at = svg.find("class=\"name", at)) != svg.npos) {
    const size_t y = svg.rfind(" y=\"", at);
    heights.push_back(std::stod(svg.substr(y + 4)));
    ++at;
  }
  ASSERT_EQ(heights.size(), 8u);
  for (size_t i = 1; i < heights.size(); ++i) {
    EXPECT_GE(heights[i] - heights[i - 1], 13) << i;  // the size of the font
  }
}

TEST(PageTest, UnitsKeepNumbersShort) {
  EXPECT_EQ(BytesUnit(999).name, "B");
  EXPECT_EQ(BytesUnit(1e6).name, "MB");
  EXPECT_EQ(BytesUnit(1e6).size, 1e6);
  EXPECT_EQ(BytesUnit(1e30).name, "PB");
  EXPECT_EQ(SecondsUnit(10).name, "seconds");
  EXPECT_EQ(SecondsUnit(7200).name, "minutes");
  EXPECT_EQ(SecondsUnit(86400).name, "hours");
  EXPECT_EQ(SecondsUnit(1e6).name, "days");
}

TEST(PageTest, OfImagesTheAccuracyIsShown) {
  testing::RunLog log;
  EXPECT_EQ(AccuracyFigure(log.Summary()), "");
  log.Tested(0, 1);
  log.Tested(1, 7);
  const RunSummary run = log.Summary();
  EXPECT_THAT(AccuracyFigure(run),
              HasSubstr("test set: 70.00 % at version 1."));
  const std::string page = RenderRunPage(run);
  EXPECT_THAT(page, HasSubstr("Accuracy by round"));
  EXPECT_THAT(page, Not(HasSubstr("Held-out perplexity")));
}

TEST(PageTest, UnderMaskingWhatIsAbsentIsSaidAndNotZero) {
  testing::RunLog log;
  log.header.masked = true;
  log.Started(1, 1);
  log.Selected(1, "a1", 1);
  log.Reported(1, "a1", 2, 1);
  log.Committed(1, 3, 1);
  const std::string page = RenderRunPage(log.Summary());
  EXPECT_THAT(page, HasSubstr("Perplexity of groups and clients: not known "
                              "under masking."));
  EXPECT_THAT(page, HasSubstr("Training losses: not known under masking."));
  EXPECT_THAT(page, Not(HasSubstr("training loss</th>")));
}

TEST(PageTest, ALogThatStopsIsSaidToStop) {
  testing::RunLog log;
  log.Started(7, 90);
  EXPECT_THAT(RenderRunPage(log.Summary()),
              HasSubstr("The log stops in round 7, after 1 min 30 s"));
  testing::RunLog whole;
  whole.Finished(1, 2);
  EXPECT_THAT(RenderRunPage(whole.Summary()), Not(HasSubstr("The log stops")));
}

TEST(PageTest, FiguresBeyondADoubleAreNoNumbersInAPicture) {
  testing::RunLog log;
  log.Measured(0, 1e300, 1);
  log.Started(1, 0);
  log.Reported(1, "a1", 0x1p53, 0x1p53).bytes_up = int64_t{1} << 53;
  log.Committed(1, 0x1p53, 1);
  log.Measured(1, 2, 1);
  log.ClientMeasured(1, "a1", 1e300, 1);
  log.ClientMeasured(1, "b1", -1e300, 1);
  log.Add({.kind = EventKind::kBaseline,
           .name = "local",
           .nll_sum = 1e300,
           .tokens = 1});
  log.Finished(0, 0x1p53);
  const std::string page = RenderRunPage(log.Summary());
  for (const char* bad :
       {"\"nan", "\"inf", "\"-nan", "\"-inf", ",nan", ",inf"}) {
    EXPECT_THAT(page, Not(HasSubstr(bad)));
  }
  EXPECT_THAT(page, HasSubstr("above 1e308"));
}

TEST(PageTest, ManyRoundsShareColumns) {
  testing::RunLog log;
  for (int round = 1; round <= 1000; ++round) {
    log.Started(round, round);
    log.Committed(round, round + 0.5, 2);
  }
  const RunSummary run = log.Summary();
  // 59 columns of 17 rounds, within the 60 that are drawn at most.
  EXPECT_THAT(FunnelFigure(run), HasSubstr("mean of 17 rounds."));
  const std::string bytes = BytesFigure(run);
  EXPECT_THAT(bytes, HasSubstr("rounds 1 to 17: 100 B down, 50 B up"));
  EXPECT_THAT(bytes, HasSubstr("rounds 987 to 1000: 100 B down, 50 B up"));
}

}  // namespace
}  // namespace edgetune
