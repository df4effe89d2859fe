#ifndef EDGETUNE_SIMULATIONS_REPORT_CSV_TABLES_H_
#define EDGETUNE_SIMULATIONS_REPORT_CSV_TABLES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "simulations/report/summary.h"

namespace edgetune {

// A table as RFC 4180 has it: CRLF after each record, cells quoted when they
// hold a comma, a quote, CR or LF. Text that a spreadsheet would take for a
// formula (it begins with = + - @, tab or CR, after spaces too) gets an
// apostrophe before it. One thread. Nothing fails.
//
// Life: construct with the column names, then a cell after the other, EndRow
// after each record; text() when done.
class CsvTable {
 public:
  explicit CsvTable(std::string_view header) : text_(header) { EndRow(); }

  CsvTable& Text(std::string_view cell);
  CsvTable& Number(int64_t cell);
  CsvTable& Number(double cell);  // the shortest digits that read back the same
  // Absent: an empty cell.
  template <typename T>
  CsvTable& Number(const std::optional<T>& cell) {
    return cell ? Number(*cell) : Raw("");
  }
  void EndRow();

  const std::string& text() const { return text_; }

 private:
  CsvTable& Raw(std::string_view cell);

  std::string text_;
  bool begun_ = false;  // the row has a cell
};

// rounds.csv, clients.csv and groups.csv; columns are in
// docs/reference/report.md. What is not known (under masking, or since the log
// stops) is an empty cell.
std::string RoundsCsv(const RunSummary& run);
std::string ClientsCsv(const RunSummary& run);
std::string GroupsCsv(const RunSummary& run);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_REPORT_CSV_TABLES_H_
