#include "tools/model/frontier.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <tuple>

#include "base/units.h"
#include "tools/output.h"

namespace edgetune {
namespace {

constexpr double kWidth = 720, kHeight = 400;
constexpr double kLeft = 64, kRight = 24, kTop = 20, kBottom = 48;

// A logarithmic axis from a little below the least value to a little above the
// largest, on `length` pixels.
class LogAxis {
 public:
  LogAxis(double least, double most, double length)
      : low_(std::log(least * 0.93)),
        high_(std::log(most * 1.07)),
        length_(length) {}

  double At(double value) const {
    return length_ * (std::log(value) - low_) / (high_ - low_);
  }
  // 1, 2 and 5 times the powers of ten in it.
  std::vector<double> Ticks() const {
    std::vector<double> out;
    for (int power = -3; power < 15; ++power) {
      for (const double lead : {1.0, 2.0, 5.0}) {
        const double tick = lead * std::pow(10.0, power);
        if (std::log(tick) >= low_ && std::log(tick) <= high_) {
          out.push_back(tick);
        }
      }
    }
    return out;
  }

 private:
  const double low_, high_, length_;
};

std::string Escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else {
      out += c;
    }
  }
  return out;
}

std::string Milliseconds(double seconds) {
  return fmt::format("{:.1f} ms", 1e3 * seconds);
}

}  // namespace

void MarkFrontier(std::vector<CompressedModel>& models) {
  std::ranges::stable_sort(models, {}, [](const CompressedModel& model) {
    return std::tuple(model.bytes, model.perplexity);
  });
  double best = std::numeric_limits<double>::infinity();
  for (CompressedModel& model : models) {
    model.on_frontier = model.perplexity < best;
    best = std::min(best, model.perplexity);
  }
}

bool CompressionTarget::Meets(const CompressedModel& model) const {
  return (!bytes || model.bytes <= *bytes) && (!token || model.token <= *token);
}

const CompressedModel* BestWithin(const std::vector<CompressedModel>& models,
                                  const CompressionTarget& target) {
  const CompressedModel* best = nullptr;
  for (const CompressedModel& model : models) {
    if (!target.Meets(model)) continue;
    if (best == nullptr || model.perplexity < best->perplexity) best = &model;
  }
  return best;
}

std::string FrontierTable(const std::vector<CompressedModel>& models) {
  std::vector<std::vector<std::string>> rows = {{"", "model", "size",
                                                 "perplexity", "first token",
                                                 "a token", "peak memory"}};
  for (const CompressedModel& model : models) {
    rows.push_back({model.on_frontier ? "*" : "", model.name,
                    FormatBytes(model.bytes),
                    fmt::format("{:.2f}", model.perplexity),
                    Milliseconds(model.first_token), Milliseconds(model.token),
                    FormatBytes(model.peak_memory)});
  }
  return FormatTable(rows, {2, 3, 4, 5, 6});
}

nlohmann::json FrontierJson(const std::vector<CompressedModel>& models) {
  nlohmann::json out = nlohmann::json::array();
  for (const CompressedModel& model : models) {
    out.push_back({{"name", model.name},
                   {"file", model.file},
                   {"bytes", model.bytes},
                   {"perplexity", model.perplexity},
                   {"first_token_s", model.first_token},
                   {"token_s", model.token},
                   {"peak_resident_bytes", model.peak_memory},
                   {"on_frontier", model.on_frontier}});
  }
  return out;
}

std::string FrontierSvg(const std::vector<CompressedModel>& models) {
  const auto [small, large] =
      std::ranges::minmax(models, {}, &CompressedModel::bytes);
  const auto [good, bad] =
      std::ranges::minmax(models, {}, &CompressedModel::perplexity);
  const double right = kWidth - kRight, bottom = kHeight - kBottom;
  const LogAxis across(static_cast<double>(small.bytes),
                       static_cast<double>(large.bytes), right - kLeft);
  const LogAxis up(good.perplexity, bad.perplexity, bottom - kTop);
  const auto x = [&](double bytes) { return kLeft + across.At(bytes); };
  const auto y = [&](double perplexity) { return bottom - up.At(perplexity); };
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" "
      "font-family=\"sans-serif\" font-size=\"11\" fill=\"#333\">\n"
      "<rect width=\"{}\" height=\"{}\" fill=\"#fff\"/>\n",
      kWidth, kHeight, kWidth, kHeight);
  for (const double tick : up.Ticks()) {
    out += fmt::format(
        "<path d=\"M{0} {1:.1f}H{2}\" stroke=\"#ddd\"/>"
        "<text x=\"{3}\" y=\"{1:.1f}\" dy=\"4\" "
        "text-anchor=\"end\">{4:g}</text>\n",
        kLeft, y(tick), right, kLeft - 8, tick);
  }
  for (const double tick : across.Ticks()) {
    out += fmt::format(
        "<path d=\"M{0:.1f} {1}V{2}\" stroke=\"#ddd\"/>"
        "<text x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4}</text>\n",
        x(tick), kTop, bottom, bottom + 16,
        FormatBytes(static_cast<uint64_t>(tick)));
  }
  std::string line;
  for (const CompressedModel& model : models) {
    const double at = x(static_cast<double>(model.bytes));
    const double height = y(model.perplexity);
    if (model.on_frontier) line += fmt::format("{:.1f},{:.1f} ", at, height);
    out += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"{}\"/>"
        "<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n",
        at, height, model.on_frontier ? "#1f5fa8" : "#aaa", at + 7, height - 5,
        Escaped(model.name));
  }
  return out +
         fmt::format(
             "<polyline points=\"{}\" fill=\"none\" stroke=\"#1f5fa8\"/>\n"
             "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">size</text>\n"
             "<text x=\"14\" y=\"{}\" text-anchor=\"middle\" "
             "transform=\"rotate(-90 14 {})\">perplexity</text>\n</svg>\n",
             line, (kLeft + right) / 2, kHeight - 10, (kTop + bottom) / 2,
             (kTop + bottom) / 2);
}

}  // namespace edgetune
