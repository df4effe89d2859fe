#include "simulations/report/page/chart_frame.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/utf8.h"
#include "simulations/report/page/html.h"

namespace edgetune {
namespace {

constexpr double kKeyRow = 20;  // height
constexpr double kSwatch = 18;  // width of a key's picture, with its gap

double KeyWidth(const Key& key) { return kSwatch + TextWidth(key.name) + 16; }

std::string DrawSwatch(const Key& key, double x, double y) {
  const double middle = y - 4.5;
  switch (key.form) {
    case Key::Form::kBox:
      return Draw(SvgBox{x, y - 10, 12, 11, fmt::format("f{}", key.colour)});
    case Key::Form::kMark:
      return Draw(SvgLine{x, middle, x + 12, middle, "mark"});
    case Key::Form::kWhisker:
      return Draw(SvgLine{x, middle, x + 12, middle, "whisker"}) +
             fmt::format(
                 "<circle class=\"dot\" cx=\"{:.1f}\" cy=\"{:.1f}\" "
                 "r=\"3.5\" />\n",
                 x + 6, middle);
    case Key::Form::kDot:
      return Draw(SvgLine{x + 2, middle - 4, x + 10, middle + 4, "whisker"}) +
             Draw(SvgLine{x + 2, middle + 4, x + 10, middle - 4, "whisker"});
    case Key::Form::kReference:
      return Draw(SvgLine{x + 6, y - 11, x + 6, y + 2,
                          fmt::format("line s{}", key.colour)});
  }
  return "";
}

}  // namespace

Axis NiceAxis(double low, double high, int count, bool whole) {
  if (!(high > low)) {  // one value: a little to both sides
    const double around = low == 0 ? 1 : std::abs(low) * 0.1;
    low -= around;
    high += around;
  }
  const double wanted = (high - low) / std::max(count, 1);
  const double power = std::pow(10, std::floor(std::log10(wanted)));
  double step = 10 * power;
  for (const double factor : {5, 2, 1}) {
    if (factor * power >= wanted * (1 - 1e-9)) step = factor * power;
  }
  if (whole) step = std::max(1.0, step);
  // What a rounding error is beyond a tick does not ask for one more.
  return {std::floor(low / step + 1e-9) * step,
          std::ceil(high / step - 1e-9) * step, step};
}

std::vector<double> Axis::Ticks() const {
  std::vector<double> ticks;
  const double slack = 1e-9;  // of a step: a rounding error
  const double last = std::floor(high / step + slack);
  for (double i = std::ceil(low / step - slack); i <= last; ++i) {
    ticks.push_back(i * step + 0.0);  // 0, not -0
  }
  return ticks;
}

std::string Axis::Label(double tick) const {
  if (std::abs(high) >= 1e9 || std::abs(low) >= 1e9 || step < 1e-6) {
    return fmt::format("{:.3g}", tick);
  }
  if (step >= 1) return Grouped(std::llround(tick));
  const int decimals = static_cast<int>(std::ceil(-std::log10(step) - 1e-9));
  return fmt::format("{:.{}f}", tick, decimals);
}

double TextWidth(std::string_view text) {
  double width = 0;  // 13 px of a common sans serif, on the wide side
  while (!text.empty()) {
    const Utf8Char c = DecodeUtf8(text);
    width += c.code > 0x2e80 ? 13.5 : 7.2;  // from there on mostly ideographs
    text.remove_prefix(c.length);
  }
  return width;
}

std::string Draw(const SvgText& text) {
  return fmt::format(
      "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n",
      text.x, text.y, text.anchor,
      text.css.empty() ? "" : fmt::format(" class=\"{}\"", text.css),
      HtmlText(text.text));
}

std::string Draw(const SvgLine& line) {
  return fmt::format(
      "<line class=\"{}\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" "
      "y2=\"{:.1f}\" />\n",
      line.css, line.x1, line.y1, line.x2, line.y2);
}

std::string Draw(const SvgBox& box) {
  const std::string shape = fmt::format(
      "<rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" "
      "height=\"{:.1f}\"",
      box.css, box.x, box.y, box.width, box.height);
  if (box.tip.empty()) return shape + " />\n";
  return fmt::format("{}><title>{}</title></rect>\n", shape, HtmlText(box.tip));
}

double Frame::X(double value) const {
  return left + (value - x.low) / (x.high - x.low) * (width - left - right);
}

double Frame::Y(double value) const {
  return height - bottom -
         (value - y.low) / (y.high - y.low) * (height - top - bottom);
}

Frame FrameOf(const Figure& figure) {
  Frame frame;
  if (figure.hero) {
    frame.width = 860;
    frame.height = 330;
  }
  return frame;
}

void FitLeft(Frame* frame) {
  double widest = 0;
  for (const double tick : frame->y.Ticks()) {
    widest = std::max(widest, TextWidth(frame->y.Label(tick)));
  }
  frame->left = widest + 14;
}

std::string DrawY(const Frame& frame, std::string_view name) {
  std::string out = Draw(SvgText{0, 14, std::string(name)});
  for (const double tick : frame.y.Ticks()) {
    const double y = frame.Y(tick);
    out += Draw(SvgLine{frame.left, y, frame.width - frame.right, y,
                        tick == frame.y.low ? "axis" : "grid"});
    out +=
        Draw(SvgText{frame.left - 8, y + 4.5, frame.y.Label(tick), "", "end"});
  }
  return out;
}

std::string DrawX(const Frame& frame, std::string_view name) {
  const double floor = frame.height - frame.bottom;
  std::string out;
  for (const double tick : frame.x.Ticks()) {
    const double x = frame.X(tick);
    out += Draw(SvgLine{x, floor, x, floor + 4, "axis"});
    out += Draw(SvgText{x, floor + 18, frame.x.Label(tick), "", "middle"});
  }
  return out + Draw(SvgText{(frame.left + frame.width - frame.right) / 2,
                            frame.height - 5, std::string(name), "", "middle"});
}

int RowsOfKeys(const std::vector<Key>& keys, const Frame& frame) {
  int rows = 1;
  double x = 0;
  for (const Key& key : keys) {
    if (x > 0 && x + KeyWidth(key) > frame.width) {
      ++rows;
      x = 0;
    }
    x += KeyWidth(key);
  }
  return rows;
}

std::string DrawKeys(const std::vector<Key>& keys, const Frame& frame,
                     double y) {
  std::string out;
  double x = 0;
  for (const Key& key : keys) {
    if (x > 0 && x + KeyWidth(key) > frame.width) {
      y += kKeyRow;
      x = 0;
    }
    out += DrawSwatch(key, x, y) + Draw(SvgText{x + kSwatch, y, key.name});
    x += KeyWidth(key);
  }
  return out;
}

std::string OpenFigure(const Figure& figure, const Frame& frame) {
  return fmt::format(
      "<figure{5}><figcaption><b>{1}</b><span>{2}</span></figcaption>\n"
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {3} {4}\" "
      "role=\"img\" aria-labelledby=\"{0}-title {0}-desc\">\n"
      "<title id=\"{0}-title\">{1}</title>\n"
      "<desc id=\"{0}-desc\">{6}</desc>\n",
      figure.id, HtmlText(figure.title), HtmlText(figure.note), frame.width,
      frame.height, figure.hero ? " class=\"hero\"" : "",
      HtmlText(figure.description));
}

std::string_view CloseFigure() { return "</svg></figure>\n"; }

}  // namespace edgetune
