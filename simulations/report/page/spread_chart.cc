#include <fmt/format.h>

#include <algorithm>

#include "simulations/report/page/chart.h"
#include "simulations/report/page/chart_frame.h"
#include "simulations/report/page/html.h"

namespace edgetune {
namespace {

constexpr double kRow = 26, kThick = 14;
constexpr size_t kNameLength = 24;  // characters

char ColourOf(size_t reference) {
  return static_cast<char>('1' + reference % 7);
}

std::vector<Key> KeysOf(const SpreadChart& chart) {
  std::vector<Key> keys = {
      {"all tokens of the group", '0'},
      {"mean and deviation over clients", '0', Key::Form::kWhisker},
      {"worst tenth", '0', Key::Form::kDot}};
  for (size_t i = 0; i < chart.reference_names.size(); ++i) {
    keys.push_back({Trimmed(chart.reference_names[i], kNameLength), ColourOf(i),
                    Key::Form::kReference});
  }
  return keys;
}

double HighestOf(const SpreadChart& chart) {
  double highest = 0;
  for (const SpreadChart::Bar& bar : chart.bars) {
    highest =
        std::max({highest, bar.value, bar.mean + bar.deviation, bar.worst});
    for (const double value : bar.references)
      highest = std::max(highest, value);
  }
  return highest;
}

std::string DrawSpread(const SpreadChart::Bar& bar, const Frame& frame,
                       double middle) {
  const double low = frame.X(std::max(0.0, bar.mean - bar.deviation));
  const double high = frame.X(bar.mean + bar.deviation);
  const double worst = frame.X(bar.worst);
  std::string out = Draw(SvgLine{low, middle, high, middle, "whisker"});
  for (const double end : {low, high}) {
    out += Draw(SvgLine{end, middle - 4, end, middle + 4, "whisker"});
  }
  out += fmt::format(
      "<circle class=\"dot\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" />\n",
      frame.X(bar.mean), middle);
  out += Draw(SvgLine{worst - 4, middle - 4, worst + 4, middle + 4, "whisker"});
  return out +
         Draw(SvgLine{worst - 4, middle + 4, worst + 4, middle - 4, "whisker"});
}

std::string DrawBar(const SpreadChart::Bar& bar, const Frame& frame,
                    double middle) {
  std::string out = Draw(SvgText{frame.left - 8, middle + 4.5,
                                 Trimmed(bar.name, kNameLength), "", "end"});
  out += Draw(SvgBox{frame.X(0), middle - kThick / 2,
                     frame.X(bar.value) - frame.X(0), kThick, "f0",
                     bar.name + ": " + PerplexityText(bar.value)});
  for (size_t i = 0; i < bar.references.size(); ++i) {
    if (bar.references[i] < 0) continue;
    const double x = frame.X(bar.references[i]);
    out += Draw(SvgLine{x, middle - kRow / 2 + 3, x, middle + kRow / 2 - 3,
                        fmt::format("line s{}", ColourOf(i))});
  }
  return out + DrawSpread(bar, frame, middle) +
         Draw(SvgText{frame.width, middle + 4.5, PerplexityText(bar.value), "",
                      "end"});
}

std::string DrawGrid(const SpreadChart& chart, const Frame& frame) {
  std::string out = DrawX(frame, chart.x_name);
  for (const double tick : frame.x.Ticks()) {
    const double x = frame.X(tick);
    out += Draw(SvgLine{x, frame.top, x, frame.height - frame.bottom,
                        tick == 0 ? "axis" : "grid"});
  }
  return out;
}

}  // namespace

std::string RenderSpreadChart(const SpreadChart& chart) {
  if (chart.bars.empty()) return "";
  Frame frame = FrameOf(chart.figure);
  const std::vector<Key> keys = KeysOf(chart);
  frame.top = 8 + 20 * RowsOfKeys(keys, frame);
  frame.height =
      frame.top + kRow * static_cast<double>(chart.bars.size()) + frame.bottom;
  frame.x = NiceAxis(0, HighestOf(chart), 5);
  frame.x.low = 0;
  double widest = 0, value = 0;
  for (const SpreadChart::Bar& bar : chart.bars) {
    widest = std::max(widest, TextWidth(Trimmed(bar.name, kNameLength)));
    value = std::max(value, TextWidth(PerplexityText(bar.value)));
  }
  frame.left = widest + 14;
  frame.right = value + 14;
  std::string out = OpenFigure(chart.figure, frame) +
                    DrawKeys(keys, frame, 14) + DrawGrid(chart, frame);
  double middle = frame.top + kRow / 2;
  for (const SpreadChart::Bar& bar : chart.bars) {
    out += DrawBar(bar, frame, middle);
    middle += kRow;
  }
  return out + std::string(CloseFigure());
}

}  // namespace edgetune
