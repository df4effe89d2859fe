#ifndef EDGETUNE_SIMULATIONS_REPORT_PAGE_CHART_FRAME_H_
#define EDGETUNE_SIMULATIONS_REPORT_PAGE_CHART_FRAME_H_

// What the charts of chart.h are drawn with. Lengths are in units of the SVG,
// a pixel at full width; y grows downwards. Stateless; any thread.

#include <string>
#include <string_view>
#include <vector>

#include "simulations/report/page/chart.h"

namespace edgetune {

struct SvgText {
  double x = 0, y = 0;  // of the base line
  std::string text;     // escaped here
  std::string css = "";
  std::string_view anchor = "start";  // "middle", "end"
};
std::string Draw(const SvgText& text);

struct SvgLine {
  double x1 = 0, y1 = 0, x2 = 0, y2 = 0;
  std::string_view css;
};
std::string Draw(const SvgLine& line);

struct SvgBox {
  double x = 0, y = 0, width = 0, height = 0;
  std::string css;
  std::string tip = "";  // shown when pointed at; escaped here
};
std::string Draw(const SvgBox& box);

// The inner area of a chart and its axes.
struct Frame {
  double width = 560, height = 300;
  double left = 48, right = 16, top = 34, bottom = 42;
  Axis x, y;

  double X(double value) const;
  double Y(double value) const;
};
// The size that a figure has.
Frame FrameOf(const Figure& figure);
// Makes room on the left for the labels of the y axis.
void FitLeft(Frame* frame);
// Grid, labels and name of an axis; the name of y stands above it.
std::string DrawY(const Frame& frame, std::string_view name);
std::string DrawX(const Frame& frame, std::string_view name);

struct Key {
  std::string name;
  char colour = '0';
  enum class Form { kBox, kMark, kDot, kWhisker, kReference } form = Form::kBox;
};
// Names of colours in rows from the left, the first `y` from the top.
std::string DrawKeys(const std::vector<Key>& keys, const Frame& frame,
                     double y);
// How many rows DrawKeys takes.
int RowsOfKeys(const std::vector<Key>& keys, const Frame& frame);

// About as wide as `text` is drawn.
double TextWidth(std::string_view text);

std::string OpenFigure(const Figure& figure, const Frame& frame);
std::string_view CloseFigure();

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_REPORT_PAGE_CHART_FRAME_H_
