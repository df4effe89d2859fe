#ifndef EDGETUNE_SIMULATIONS_REPORT_PAGE_CHART_H_
#define EDGETUNE_SIMULATIONS_REPORT_PAGE_CHART_H_

// Charts as inline SVG inside a <figure>: colours and fonts come from the
// page's style, so both themes work. Each has a title and a description for
// people who do not see it. Texts are escaped here; equal input makes equal
// bytes. Stateless; any thread; nothing fails.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace edgetune {

// An axis from `low` to `high`, with ticks at multiples of `step`.
struct Axis {
  double low = 0, high = 1, step = 1;

  std::vector<double> Ticks() const;     // those in [low, high]
  std::string Label(double tick) const;  // as many decimals as `step` has
};
// The one around finite [low, high] that begins and ends with a tick, about
// `count` of them; the step is 1, 2 or 5 times a power of ten (Heckbert, Nice
// Numbers for Graph Labels, Graphics Gems, 1990), at least 1 if `whole`.
Axis NiceAxis(double low, double high, int count, bool whole = false);

// What every chart has.
struct Figure {
  std::string id = "";           // unique on the page: letters and hyphens
  std::string title = "";        // what is shown
  std::string note = "";         // how to read it
  std::string description = "";  // for those who do not see it
  bool hero = false;             // as wide as the page
};

struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;  // x ascending, finite
  bool filled = false;                            // down to the x axis
};
// A horizontal line to compare with.
struct Reference {
  std::string name;
  double value = 0;  // finite
};
struct LineChart {
  Figure figure;
  std::string x_name, y_name;
  std::vector<Series> series;  // colours and dashes go by position
  std::vector<Reference> references;
  bool whole_x = false;    // x is counted
  bool from_zero = false;  // y begins at 0
};
// Names stand at the right end of their lines, moved apart. "" without points.
std::string RenderLineChart(const LineChart& chart);

// Columns of parts on each other.
struct StackedChart {
  struct Part {
    std::string name;
    char colour = '0';  // '0' to '7' of the style; 'a': amber, 'n': pale
  };
  struct Column {
    std::string name;  // says it in words, when pointed at
    std::vector<double> values;
    double mark = -1;  // a tick across the column; below 0: none
  };
  Figure figure;
  std::string x_name, y_name;
  std::vector<Part> parts;
  std::vector<Column> columns;
  int64_t first = 1,
          per_column = 1;  // number of column i: first + i per_column
  std::string mark_name;
};
std::string RenderStackedChart(const StackedChart& chart);

// A bar a group, with the spread inside it.
struct SpreadChart {
  struct Bar {
    std::string name;
    double value = 0, mean = 0, deviation = 0, worst = 0;  // finite
    std::vector<double> references;                        // below 0: none
  };
  Figure figure;
  std::string x_name;
  std::vector<Bar> bars;
  std::vector<std::string> reference_names;
};
std::string RenderSpreadChart(const SpreadChart& chart);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_REPORT_PAGE_CHART_H_
