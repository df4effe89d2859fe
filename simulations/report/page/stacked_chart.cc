#include <fmt/format.h>

#include <algorithm>

#include "simulations/report/page/chart.h"
#include "simulations/report/page/chart_frame.h"

namespace edgetune {
namespace {

constexpr double kKeyTop = 38;  // the first row of keys, under the y axis' name

std::vector<Key> KeysOf(const StackedChart& chart) {
  std::vector<Key> keys;
  for (const StackedChart::Part& part : chart.parts) {
    keys.push_back({part.name, part.colour});
  }
  if (!chart.mark_name.empty()) {
    keys.push_back({chart.mark_name, '0', Key::Form::kMark});
  }
  return keys;
}

double HighestOf(const StackedChart& chart) {
  double highest = 0;
  for (const StackedChart::Column& column : chart.columns) {
    double sum = 0;
    for (const double value : column.values) sum += value;
    highest = std::max({highest, sum, column.mark});
  }
  return highest;
}

std::string DrawColumn(const StackedChart& chart, size_t index,
                       const Frame& frame) {
  const StackedChart::Column& column = chart.columns[index];
  const double at = static_cast<double>(index);
  const double slot = frame.X(at + 1) - frame.X(at);
  const double gap = std::min(slot * 0.2, 6.0);
  const double x = frame.X(at) + gap / 2;
  std::string out;
  double sum = 0;
  for (size_t i = 0; i < column.values.size(); ++i) {
    const double value = column.values[i];
    if (!(value > 0)) continue;
    const double top = frame.Y(sum + value);
    out += Draw(SvgBox{x, top, slot - gap, frame.Y(sum) - top,
                       fmt::format("f{}", chart.parts[i].colour), column.name});
    sum += value;
  }
  if (column.mark < 0) return out;
  const double y = frame.Y(column.mark);
  return out + Draw(SvgLine{x - gap / 2, y, x + slot - gap / 2, y, "mark"});
}

// Numbers under the middle of their columns.
std::string DrawNumbers(const StackedChart& chart, const Frame& frame) {
  const double floor = frame.height - frame.bottom;
  const auto count = static_cast<int64_t>(chart.columns.size());
  const auto last = chart.first + count * chart.per_column;
  const Axis axis = NiceAxis(static_cast<double>(chart.first),
                             static_cast<double>(last), 7, true);
  std::string out;
  for (const double tick : axis.Ticks()) {
    if (tick < static_cast<double>(chart.first) ||
        tick >= static_cast<double>(last)) {
      continue;
    }
    const double at = (tick - static_cast<double>(chart.first)) /
                      static_cast<double>(chart.per_column);
    const double middle = chart.per_column == 1 ? 0.5 : 0;
    out += Draw(SvgText{frame.X(at + middle), floor + 18, axis.Label(tick), "",
                        "middle"});
  }
  return out + Draw(SvgText{(frame.left + frame.width - frame.right) / 2,
                            frame.height - 5, chart.x_name, "", "middle"});
}

}  // namespace

std::string RenderStackedChart(const StackedChart& chart) {
  if (chart.columns.empty()) return "";
  Frame frame = FrameOf(chart.figure);
  const std::vector<Key> keys = KeysOf(chart);
  const double rows = RowsOfKeys(keys, frame);
  frame.top = kKeyTop + 20 * rows - 6;
  frame.height += 20 * rows;
  frame.x = {0, static_cast<double>(chart.columns.size()), 1};
  frame.y = NiceAxis(0, HighestOf(chart), 5);
  frame.y.low = 0;
  FitLeft(&frame);
  std::string out = OpenFigure(chart.figure, frame) +
                    DrawKeys(keys, frame, kKeyTop) +
                    DrawY(frame, chart.y_name) + DrawNumbers(chart, frame);
  for (size_t i = 0; i < chart.columns.size(); ++i) {
    out += DrawColumn(chart, i, frame);
  }
  return out + std::string(CloseFigure());
}

}  // namespace edgetune
