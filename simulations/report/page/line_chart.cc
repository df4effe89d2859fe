#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "simulations/report/page/chart.h"
#include "simulations/report/page/chart_frame.h"
#include "simulations/report/page/html.h"

namespace edgetune {
namespace {

constexpr size_t kColours = 8, kDashes = 4;
constexpr size_t kMostMarkers = 60;  // above it a line alone
constexpr double kLabelRow = 16;     // height of a name
constexpr double kBold = 1.12;       // wider than what TextWidth is of

struct Bounds {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void Add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

// A name beside the end of its line.
struct EndLabel {
  double y;
  std::string text;
  size_t colour;
};

// Moves names apart that would overlap, within [top, bottom].
void SpreadLabels(std::vector<EndLabel>* labels, double top, double bottom) {
  std::ranges::stable_sort(*labels, {}, &EndLabel::y);
  double least = top;
  for (EndLabel& label : *labels) {
    label.y = std::max(label.y, least);
    least = label.y + kLabelRow;
  }
  double most = bottom;
  for (auto label = labels->rbegin(); label != labels->rend(); ++label) {
    label->y = std::min(label->y, most);
    most = label->y - kLabelRow;
  }
}

std::string LabelText(const Figure& figure, const std::string& name,
                      double value) {
  return Trimmed(name, figure.hero ? 28 : 16) + " " + PerplexityText(value);
}

std::vector<EndLabel> LabelsOf(const LineChart& chart) {
  std::vector<EndLabel> labels;
  for (size_t i = 0; i < chart.series.size(); ++i) {
    const Series& series = chart.series[i];
    if (series.name.empty() || series.points.empty()) continue;
    const double last = series.points.back().second;
    labels.push_back({last, LabelText(chart.figure, series.name, last), i});
  }
  for (size_t i = 0; i < chart.references.size(); ++i) {
    const Reference& reference = chart.references[i];
    labels.push_back({reference.value,
                      LabelText(chart.figure, reference.name, reference.value),
                      chart.series.size() + i});
  }
  return labels;
}

std::string DrawLabels(const Frame& frame, std::vector<EndLabel> labels) {
  for (EndLabel& label : labels) label.y = frame.Y(label.y) + 4.5;
  SpreadLabels(&labels, frame.top + 4.5, frame.height - frame.bottom);
  std::string out;
  for (const EndLabel& label : labels) {
    out += Draw(SvgText{frame.width - frame.right + 8, label.y, label.text,
                        fmt::format("name f{}", label.colour % kColours)});
  }
  return out;
}

std::string DrawSeries(const LineChart& chart, size_t index,
                       const Frame& frame) {
  const Series& series = chart.series[index];
  std::string points;
  for (const auto& [x, y] : series.points) {
    points += fmt::format("{:.1f},{:.1f} ", frame.X(x), frame.Y(y));
  }
  if (points.empty()) return "";
  points.pop_back();
  const size_t colour = index % kColours;
  std::string out;
  if (series.filled) {
    const double floor = frame.height - frame.bottom;
    out += fmt::format(
        "<polygon class=\"area f{}\" points=\"{:.1f},{:.1f} {} {:.1f},{:.1f}\" "
        "/>\n",
        colour, frame.X(series.points.front().first), floor, points,
        frame.X(series.points.back().first), floor);
  }
  out += fmt::format("<polyline class=\"line s{} d{}\" points=\"{}\" />\n",
                     colour, index % kDashes, points);
  if (series.filled || series.points.size() > kMostMarkers) return out;
  for (const auto& [x, y] : series.points) {
    out += fmt::format(
        "<circle class=\"f{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\"><title>{}"
        "</title></circle>\n",
        colour, frame.X(x), frame.Y(y),
        HtmlText(fmt::format("{}: {} at {} {}", series.name, PerplexityText(y),
                             chart.x_name, fmt::format("{:.6g}", x))));
  }
  return out;
}

// Margins and axes around the data; false: there is none.
bool Fit(const LineChart& chart, Frame* frame) {
  Bounds x, y;
  for (const Series& series : chart.series) {
    for (const auto& [at, value] : series.points) {
      x.Add(at);
      y.Add(value);
    }
  }
  if (x.empty()) return false;
  for (const Reference& reference : chart.references) y.Add(reference.value);
  if (chart.from_zero) y.Add(0);
  frame->x = NiceAxis(x.low, x.high, chart.figure.hero ? 12 : 6, chart.whole_x);
  if (x.high > x.low) {  // ticks may stop before the data does
    frame->x.low = x.low;
    frame->x.high = x.high;
  }
  frame->y = NiceAxis(y.low, y.high, 5);
  FitLeft(frame);
  for (const EndLabel& label : LabelsOf(chart)) {
    frame->right = std::max(frame->right, kBold * TextWidth(label.text) + 14);
  }
  return true;
}

}  // namespace

std::string RenderLineChart(const LineChart& chart) {
  Frame frame = FrameOf(chart.figure);
  if (!Fit(chart, &frame)) return "";
  std::string out = OpenFigure(chart.figure, frame) +
                    DrawY(frame, chart.y_name) + DrawX(frame, chart.x_name);
  for (size_t i = 0; i < chart.references.size(); ++i) {
    const double y = frame.Y(chart.references[i].value);
    out += Draw(SvgLine{
        frame.left, y, frame.width - frame.right, y,
        fmt::format("reference s{}", (chart.series.size() + i) % kColours)});
  }
  for (size_t i = 0; i < chart.series.size(); ++i) {
    out += DrawSeries(chart, i, frame);
  }
  return out + DrawLabels(frame, LabelsOf(chart)) + std::string(CloseFigure());
}

}  // namespace edgetune
