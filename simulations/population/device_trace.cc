#include "simulations/population/device_trace.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>

#include "base/status.h"
#include "base/terminal_text.h"
#include "training/example_files.h"
#include "training/line_reader.h"

namespace edgetune {
namespace {

constexpr size_t kLongestClass = 32;
constexpr size_t kLongestShown = 60;  // characters of a wrong value

// What a number may be.
struct Range {
  double low;
  bool low_itself;  // or only what is above
  double high;
};
constexpr Range kChance = {0, true, 1};

// In the order of the file.
struct Column {
  std::string_view name;
  std::optional<Range> range;  // of one number
};
constexpr Column kColumns[] = {{"device_class", std::nullopt},
                               {"speed", Range{0, false, 1e9}},
                               {"memory_mb", Range{1, true, 1e9}},
                               {"down_mbit", Range{0, false, 1e6}},
                               {"up_mbit", Range{0, false, 1e6}},
                               {"latency_ms", Range{0, true, 1e6}},
                               {"dropout", kChance},
                               {"available", std::nullopt},
                               {"rank", Range{1, true, 1024}}};
// The last one may be left out, of header and rows alike.
constexpr size_t kFewestColumns = std::size(kColumns) - 1;

std::string Shown(std::string_view text) {
  const bool whole = text.size() <= kLongestShown;
  return fmt::format("\"{}{}\"", TerminalLine(text.substr(0, kLongestShown)),
                     whole ? "" : "...");
}

absl::Status WrongTrace(const std::string& where, const std::string& got,
                        const std::string& wanted) {
  return Annotate(absl::InvalidArgumentError(
                      fmt::format("{}: got {}, wanted {}", where, got, wanted)),
                  ErrorKind::kData);
}

std::vector<std::string_view> Split(std::string_view line, char at) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t end = line.find(at);
    parts.push_back(line.substr(0, end));
    if (end == std::string_view::npos) return parts;
    line.remove_prefix(end + 1);
  }
}

std::optional<double> NumberIn(std::string_view text, const Range& range) {
  double number = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  // NaN fails too.
  const bool fits =
      (range.low_itself ? number >= range.low : number > range.low) &&
      number <= range.high;
  return fits ? std::optional(number) : std::nullopt;
}

// One row being read, its values by column.
class Row {
 public:
  Row(std::string where, std::vector<std::string_view> cells)
      : where_(std::move(where)), cells_(std::move(cells)) {}

  absl::StatusOr<DeviceProfile> Read() const {
    DeviceProfile out;
    EDGETUNE_ASSIGN_OR_RETURN(out.device_class, Class(0));
    EDGETUNE_ASSIGN_OR_RETURN(out.speed, Number(1));
    EDGETUNE_ASSIGN_OR_RETURN(const double memory, Number(2));
    EDGETUNE_ASSIGN_OR_RETURN(const double down, Number(3));
    EDGETUNE_ASSIGN_OR_RETURN(const double up, Number(4));
    EDGETUNE_ASSIGN_OR_RETURN(const double latency, Number(5));
    EDGETUNE_ASSIGN_OR_RETURN(out.dropout, Number(6));
    EDGETUNE_ASSIGN_OR_RETURN(out.available, Hours(7));
    if (cells_.size() > kFewestColumns) {
      EDGETUNE_ASSIGN_OR_RETURN(out.rank, Whole(8));
    }
    out.memory_bytes = static_cast<uint64_t>(std::llround(memory * kMegabyte));
    out.down_bytes_s = down * kMegabit;
    out.up_bytes_s = up * kMegabit;
    out.latency = absl::Milliseconds(latency);
    return out;
  }

 private:
  std::string At(size_t column) const {
    return fmt::format("{}:{}", where_, kColumns[column].name);
  }

  absl::StatusOr<std::string> Class(size_t column) const {
    const std::string_view text = cells_[column];
    const bool fits = std::ranges::all_of(text, [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
             (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    });
    if (fits && !text.empty() && text.size() <= kLongestClass) {
      return std::string(text);
    }
    return WrongTrace(
        At(column), Shown(text),
        fmt::format("1 to {} letters, digits, '.', '_' or '-'", kLongestClass));
  }

  absl::StatusOr<double> Number(size_t column) const {
    const Range& range = *kColumns[column].range;
    if (const auto number = NumberIn(cells_[column], range)) return *number;
    return WrongTrace(At(column), Shown(cells_[column]),
                      fmt::format("a number {} {} and at most {}",
                                  range.low_itself ? "from" : "above",
                                  range.low, range.high));
  }

  absl::StatusOr<int64_t> Whole(size_t column) const {
    EDGETUNE_ASSIGN_OR_RETURN(const double number, Number(column));
    if (number == std::floor(number)) return static_cast<int64_t>(number);
    return WrongTrace(At(column), Shown(cells_[column]), "a whole number");
  }

  absl::StatusOr<std::array<float, 24>> Hours(size_t column) const {
    const auto parts = Split(cells_[column], ';');
    std::array<float, 24> out = {};
    if (parts.size() != 1 && parts.size() != out.size()) {
      return WrongTrace(At(column), fmt::format("{} values", parts.size()),
                        "1, or 24 with ';' between them");
    }
    for (size_t hour = 0; hour < out.size(); ++hour) {
      const size_t part = parts.size() == 1 ? 0 : hour;
      const auto chance = NumberIn(parts[part], kChance);
      if (!chance) {
        return WrongTrace(
            At(column), Shown(parts[part]),
            fmt::format("a number from 0 and at most 1 as value {}", part + 1));
      }
      out[hour] = static_cast<float>(*chance);
    }
    return out;
  }

  const std::string where_;  // file:line
  const std::vector<std::string_view> cells_;
};

std::string Header() {
  std::string out;
  for (size_t i = 0; i < kFewestColumns; ++i) {
    if (i > 0) out += ',';
    out += kColumns[i].name;
  }
  return out;
}

// How many columns there are.
absl::StatusOr<size_t> ReadHeader(const std::string& where,
                                  std::string_view line) {
  const auto names = Split(line, ',');
  for (size_t i = 0; i < std::max(names.size(), kFewestColumns); ++i) {
    if (i < names.size() && i < std::size(kColumns) &&
        names[i] == kColumns[i].name) {
      continue;
    }
    const size_t column = std::min(i, kFewestColumns - 1);
    return WrongTrace(fmt::format("{}:{}", where, kColumns[column].name),
                      i >= names.size()    ? "no such column"
                      : i < kFewestColumns ? Shown(names[i])
                                           : fmt::format("{} columns after it",
                                                         names.size() - i),
                      fmt::format("the header {}", Header()));
  }
  return names.size();
}

absl::StatusOr<DeviceProfile> ReadRow(const std::string& where, size_t columns,
                                      std::string_view line) {
  auto cells = Split(line, ',');
  if (cells.size() != columns) {
    const size_t last = std::min(cells.size(), columns) - 1;
    return WrongTrace(
        fmt::format("{}:{}", where, kColumns[last].name),
        fmt::format("{} values, this the last that fits", cells.size()),
        fmt::format("{}", columns));
  }
  return Row(where, std::move(cells)).Read();
}

}  // namespace

absl::StatusOr<std::vector<DeviceProfile>> ReadDeviceTrace(
    const std::string& path) {
  EDGETUNE_ASSIGN_OR_RETURN(auto reader, LineReader::Open(path));
  std::vector<DeviceProfile> rows;
  size_t columns = 0;  // until the header is read
  while (true) {
    EDGETUNE_ASSIGN_OR_RETURN(const auto line, reader->Next());
    if (!line) break;
    if (IsBlank(*line)) continue;
    if (columns == 0) {
      EDGETUNE_ASSIGN_OR_RETURN(columns, ReadHeader(reader->Where(), *line));
      continue;
    }
    if (rows.size() == kMaxTraceRows) {
      return WrongTrace(reader->Where(), "one more row",
                        fmt::format("at most {}", kMaxTraceRows));
    }
    EDGETUNE_ASSIGN_OR_RETURN(DeviceProfile row,
                              ReadRow(reader->Where(), columns, *line));
    rows.push_back(std::move(row));
  }
  if (!rows.empty()) return rows;
  return WrongTrace(path,
                    columns > 0 ? "no row after the header" : "an empty file",
                    fmt::format("the header {} and a row a device", Header()));
}

}  // namespace edgetune
