#include "simulations/report/page/html.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/terminal_text.h"
#include "base/units.h"
#include "base/utf8.h"

namespace edgetune {

std::string HtmlText(std::string_view text) {
  std::string out;
  for (const char c : TerminalLine(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string Trimmed(std::string_view text, size_t most) {
  size_t at = 0, kept = 0;
  for (size_t count = 0; at < text.size(); ++count) {
    if (count == most) return std::string(text.substr(0, kept)) + "…";
    if (count + 1 == most) kept = at;
    at += DecodeUtf8(text.substr(at)).length;
  }
  return std::string(text);
}

std::string Grouped(int64_t number) {
  std::string digits = std::to_string(number);
  const size_t first = number < 0 ? 1 : 0;
  for (size_t at = digits.size(); at > first + 3; at -= 3) {
    digits.insert(at - 3, ",");
  }
  return digits;
}

std::string PerplexityText(double value) {
  if (!(value < 1e9)) {
    return std::isfinite(value) ? fmt::format("{:.2e}", value) : "above 1e308";
  }
  if (value >= 1000) return Grouped(std::llround(value));
  return fmt::format("{:.2f}", value);
}

std::string PercentText(double share) {
  return fmt::format("{:.1f} %", 100 * share);
}

std::string BytesText(int64_t bytes) {
  return FormatBytes(static_cast<uint64_t>(bytes));
}

std::string_view AbsentText(bool masked) {
  return masked ? "not known under masking" : "not in the log";
}

std::string RenderTable(const HtmlTable& table) {
  const auto kind = [&](size_t column) {
    return column < table.texts ? " class=\"word\"" : "";
  };
  std::string out = fmt::format(
      "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\">"
      "<table><caption>{0}</caption>\n<thead><tr>",
      HtmlText(table.caption));
  for (size_t i = 0; i < table.head.size(); ++i) {
    out += fmt::format("<th scope=\"col\"{}>{}</th>", kind(i),
                       HtmlText(table.head[i]));
  }
  out += "</tr></thead>\n<tbody>\n";
  for (const std::vector<std::string>& row : table.rows) {
    out += "<tr>";
    for (size_t i = 0; i < row.size(); ++i) {
      out += i == 0 ? fmt::format("<th scope=\"row\"{}>{}</th>", kind(i),
                                  HtmlText(row[i]))
                    : fmt::format("<td{}>{}</td>", kind(i), HtmlText(row[i]));
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string RenderTiles(const std::vector<Tile>& tiles) {
  std::string out = "<dl class=\"tiles\">\n";
  for (const Tile& tile : tiles) {
    out += fmt::format(
        "<div><dt>{}</dt><dd>{}</dd><dd class=\"note\">{}</dd></div>\n",
        HtmlText(tile.label), HtmlText(tile.value), HtmlText(tile.note));
  }
  return out + "</dl>\n";
}

std::string Section(std::string_view title, std::string_view body) {
  return fmt::format("<section><h2>{}</h2>\n{}</section>\n", HtmlText(title),
                     body);
}

std::string Paragraph(std::string_view text) {
  return fmt::format("<p>{}</p>\n", HtmlText(text));
}

std::string Folded(std::string_view title, std::string_view body) {
  return fmt::format("<details><summary>{}</summary>\n{}</details>\n",
                     HtmlText(title), body);
}

std::string RenderPage(std::string_view title, std::string_view body) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n"
      "<meta charset=\"utf-8\" />\n"
      "<meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\" />\n"
      "<meta name=\"color-scheme\" content=\"light dark\" />\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src "
      "'none'; style-src 'unsafe-inline'\" />\n"
      "<title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n{}"
      "</main>\n</body>\n</html>\n",
      HtmlText(title), PageStyle(), body);
}

}  // namespace edgetune
