#ifndef EDGETUNE_SIMULATIONS_REPORT_PAGE_HTML_H_
#define EDGETUNE_SIMULATIONS_REPORT_PAGE_HTML_H_

// Pieces of a page that needs nothing but itself: text, numbers, tables. All of
// it is well-formed XML too. Stateless; any thread; nothing fails.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace edgetune {

// Text of others in an element or a quoted attribute: what would be markup is
// escaped, and what would command a reader (control characters, the order of
// writing) is shown, as TerminalLine does.
std::string HtmlText(std::string_view text);
// At most `most` characters, the last one an ellipsis when text was left out.
std::string Trimmed(std::string_view text, size_t most);

std::string Grouped(int64_t number);       // "12,345"
std::string PerplexityText(double value);  // "28.67", "1,234", "above 1e300"
std::string PercentText(double share);     // "12.3 %" of 0.123
std::string BytesText(int64_t bytes);      // "1.2 GB"
// What stands where a figure is absent: in a table, and in words.
inline constexpr std::string_view kDash = "–";
std::string_view AbsentText(bool masked);

struct HtmlTable {
  std::string caption;                         // text
  std::vector<std::string> head;               // text
  std::vector<std::vector<std::string>> rows;  // text, as many as the head
  size_t texts = 1;  // the first so many columns are words, the others numbers
};
// The first cell of a row is its head. Wide tables scroll by themselves.
std::string RenderTable(const HtmlTable& table);

struct Tile {
  std::string label, value, note;  // text
};
std::string RenderTiles(const std::vector<Tile>& tiles);

// A heading and what belongs to it; `body` is markup.
std::string Section(std::string_view title, std::string_view body);
std::string Paragraph(std::string_view text);
// A part that is folded up at first.
std::string Folded(std::string_view title, std::string_view body);

// The whole page around markup, with the style that everything here wants.
std::string RenderPage(std::string_view title, std::string_view body);
std::string_view PageStyle();  // CSS, in style.cc

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_REPORT_PAGE_HTML_H_
