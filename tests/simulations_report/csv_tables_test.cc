#include "simulations/report/csv_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "tests/simulations_report/run_log.h"

namespace edgetune {
namespace {

using Row = std::vector<std::string>;

// The grammar of RFC 4180, section 2, read strictly: a quote may only open a
// cell, close it, or stand doubled inside; each record ends in CRLF.
std::vector<Row> ReadRfc4180(const std::string& text) {
  std::vector<Row> rows(1, Row(1));
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    std::string& cell = rows.back().back();
    const char c = text[i], next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (quoted && c == '"' && next == '"') {
      cell += text[++i];
    } else if (c == '"') {
      EXPECT_TRUE(quoted || cell.empty()) << "a quote inside a cell";
      EXPECT_TRUE(!quoted || next == ',' || next == '\r') << next;
      quoted = !quoted;
    } else if (quoted) {
      cell += c;
    } else if (c == ',') {
      rows.back().emplace_back();
    } else if (c == '\r' && next == '\n') {
      rows.emplace_back(1);
      ++i;
    } else {
      EXPECT_TRUE(c != '\r' && c != '\n') << "a bare line end";
      cell += c;
    }
  }
  EXPECT_FALSE(quoted);
  EXPECT_EQ(rows.back(), Row(1)) << "the last record does not end";
  rows.pop_back();
  return rows;
}

TEST(CsvTablesTest, CellsComeBackWhateverStandsInThem) {
  const Row cells = {
      "plain", "a,b", "say \"no\"", "\"", "two\r\nlines",      "\n",
      "",      "é漢", "x=1",        ",",  std::string(1, '\0')};
  CsvTable csv("h");
  for (const std::string& cell : cells) csv.Text(cell);
  csv.EndRow();
  csv.Text("next").EndRow();
  EXPECT_EQ(ReadRfc4180(csv.text()),
            (std::vector<Row>{{"h"}, cells, {"next"}}));
}

// OWASP, CSV Injection: what begins a formula in spreadsheets.
TEST(CsvTablesTest, NoTextIsAFormula) {
  for (const std::string& text :
       {std::string("=1+1"), std::string("+1"), std::string("-1"),
        std::string("@SUM(A1)"), std::string("\tx"), std::string("\rx"),
        std::string("  =1"), std::string("=HYPERLINK(\"http://x\",\"y\")")}) {
    CsvTable csv("h");
    csv.Text(text).EndRow();
    EXPECT_EQ(ReadRfc4180(csv.text())[1], Row{"'" + text});
  }
  CsvTable csv("h");
  csv.Number(int64_t{-5}).Number(-0.5).Text("device-1").EndRow();
  EXPECT_EQ(ReadRfc4180(csv.text())[1], (Row{"-5", "-0.5", "device-1"}));
}

TEST(CsvTablesTest, NumbersReadBackTheSame) {
  for (const double number : {0.1, 1.0 / 3, 1e300, 5e-324, -0.0, 123456789.0}) {
    CsvTable csv("h");
    csv.Number(number).EndRow();
    EXPECT_EQ(std::strtod(ReadRfc4180(csv.text())[1][0].c_str(), nullptr),
              number);
  }
}

TEST(CsvTablesTest, WhatIsNotKnownIsAnEmptyCell) {
  testing::RunLog log;
  log.header.masked = true;
  log.Started(1, 1);
  log.Selected(1, "a,\"1\"", 1);
  log.Reported(1, "a,\"1\"", 2, 1);
  log.Committed(1, 3, 1);
  const RunSummary run = log.Summary();
  const auto rounds = ReadRfc4180(RoundsCsv(run));
  ASSERT_EQ(rounds.size(), 2u);
  EXPECT_EQ(rounds[1],
            (Row{"1", "committed", "1", "2",   "1",   "1",  "0", "0", "0",
                 "0", "0",         "1", "1.5", "100", "50", "",  "",  "",
                 "",  "1",         "3", "1",   "",    "",   ""}));
  EXPECT_EQ(rounds[0].size(), rounds[1].size());
  const auto clients = ReadRfc4180(ClientsCsv(run));
  EXPECT_EQ(clients[1],
            (Row{"a,\"1\"", "a", "1", "1", "10", "5", "", "", "", ""}));
  EXPECT_EQ(clients[0].size(), clients[1].size());
  const auto groups = ReadRfc4180(GroupsCsv(run));
  EXPECT_EQ(groups[1], (Row{"a", "1", "1", "", "", "", "", "", "", ""}));
  EXPECT_EQ(groups[0].size(), groups[1].size());
}

}  // namespace
}  // namespace edgetune
