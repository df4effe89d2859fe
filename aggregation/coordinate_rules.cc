#include <algorithm>
#include <cmath>

#include "aggregation/robust_rules.h"

namespace edgetune {
namespace {

// Coordinates gathered at a time: one cache line of each update.
constexpr size_t kTile = 16;

// trim is a decimal number: 0.29 * 100 is 28.999999999999996.
constexpr double kWholeSlack = 1e-9;

// `rule` makes one number of the n values of a coordinate, ascending.
template <typename Rule>
ParameterVector ForEachColumn(Updates updates, Rule rule) {
  const size_t n = updates.size();
  const size_t coordinates = updates.front().size();
  ParameterVector result(coordinates);
  std::vector<float> columns(kTile * n);
  for (size_t begin = 0; begin < coordinates; begin += kTile) {
    const size_t count = std::min(kTile, coordinates - begin);
    for (size_t i = 0; i < n; ++i) {
      for (size_t c = 0; c < count; ++c) {
        columns[c * n + i] = updates[i][begin + c];
      }
    }
    for (size_t c = 0; c < count; ++c) {
      const std::span<float> column(columns.data() + c * n, n);
      std::sort(column.begin(), column.end());
      result[begin + c] = static_cast<float>(rule(column));
    }
  }
  return result;
}

double MeanOf(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// The middle value of an ascending column, or the middle two.
std::span<const float> Middle(std::span<const float> column) {
  const size_t cut = (column.size() - 1) / 2;
  return column.subspan(cut, column.size() - 2 * cut);
}

// The values nearest to `centre` stand side by side in an ascending column:
// leaves out whichever end is farther.
std::span<const float> Nearest(std::span<const float> column, double centre,
                               size_t kept) {
  while (column.size() > kept) {
    const bool low_is_farther =
        centre - column.front() > column.back() - centre;
    column =
        low_is_farther ? column.subspan(1) : column.first(column.size() - 1);
  }
  return column;
}

}  // namespace

size_t CutAtEachEnd(double trim, size_t n) {
  const double whole = std::floor(trim * static_cast<double>(n) + kWholeSlack);
  return std::min(static_cast<size_t>(whole), (n - 1) / 2);
}

int64_t FewestToTrim(double trim) {
  // Far beyond any cohort, and still an integer.
  constexpr double kMost = 1e15;
  return static_cast<int64_t>(
      std::min(kMost, std::ceil((1 - kWholeSlack) / trim)));
}

ParameterVector Mean(Updates updates) {
  const size_t coordinates = updates.front().size();
  std::vector<double> sums(coordinates, 0.0);
  for (const std::span<const float> update : updates) {
    for (size_t i = 0; i < coordinates; ++i) sums[i] += update[i];
  }
  ParameterVector mean(coordinates);
  const auto n = static_cast<double>(updates.size());
  for (size_t i = 0; i < coordinates; ++i) {
    mean[i] = static_cast<float>(sums[i] / n);
  }
  return mean;
}

ParameterVector TrimmedMean(Updates updates, size_t cut) {
  return ForEachColumn(updates, [cut](std::span<const float> column) {
    return MeanOf(column.subspan(cut, column.size() - 2 * cut));
  });
}

ParameterVector Median(Updates updates) {
  return ForEachColumn(updates, [](std::span<const float> column) {
    return MeanOf(Middle(column));
  });
}

ParameterVector MeanAroundMedian(Updates updates, size_t kept) {
  return ForEachColumn(updates, [kept](std::span<const float> column) {
    return MeanOf(Nearest(column, MeanOf(Middle(column)), kept));
  });
}

}  // namespace edgetune
