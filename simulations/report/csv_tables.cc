#include "simulations/report/csv_tables.h"

#include <fmt/format.h>

namespace edgetune {

CsvTable& CsvTable::Raw(std::string_view cell) {
  if (begun_) text_ += ',';
  begun_ = true;
  text_ += cell;
  return *this;
}

CsvTable& CsvTable::Text(std::string_view cell) {
  const size_t first = cell.find_first_not_of(' ');
  const bool formula =
      first != cell.npos &&
      std::string_view("=+-@\t\r").find(cell[first]) != cell.npos;
  std::string safe = formula ? "'" : "";
  safe += cell;
  if (safe.find_first_of(",\"\r\n") == safe.npos) return Raw(safe);
  std::string quoted = "\"";
  for (const char c : safe) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return Raw(quoted + "\"");
}

CsvTable& CsvTable::Number(int64_t cell) { return Raw(std::to_string(cell)); }

CsvTable& CsvTable::Number(double cell) { return Raw(fmt::format("{}", cell)); }

void CsvTable::EndRow() {
  text_ += "\r\n";
  begun_ = false;
}

std::string RoundsCsv(const RunSummary& run) {
  CsvTable csv(
      "round,state,attempts,asked,selected,reported,refused,late,dropped,"
      "declined,unanswered,updates,weight_sum,bytes_down,bytes_up,perplexity,"
      "nll_sum,tokens,train_loss,start_s,end_s,train_s,accuracy,"
      "test_accuracy,test_perplexity");
  for (const RoundSummary& round : run.rounds) {
    const Funnel& funnel = round.funnel;
    csv.Number(round.round).Text(RoundStateName(round.state));
    for (const int64_t count :
         {round.attempts, funnel.asked, funnel.selected, funnel.reported,
          funnel.refused, funnel.late, funnel.dropped, funnel.declined,
          funnel.unanswered}) {
      csv.Number(count);
    }
    const auto perplexity = round.measure.Perplexity();
    csv.Number(round.updates).Number(round.weight_sum);
    csv.Number(round.bytes_down).Number(round.bytes_up).Number(perplexity);
    csv.Number(perplexity ? std::optional(round.measure.nll_sum)
                          : std::nullopt);
    csv.Number(perplexity ? std::optional(round.measure.tokens) : std::nullopt);
    csv.Number(round.train_loss).Number(round.start).Number(round.end);
    csv.Number(round.train_s).Number(round.held_out.Accuracy());
    csv.Number(round.test.Accuracy());
    csv.Number(round.test_measure.Perplexity()).EndRow();
  }
  return csv.text();
}

std::string ClientsCsv(const RunSummary& run) {
  CsvTable csv(
      "client,group,sessions,contributions,bytes_down,bytes_up,last_version,"
      "nll_sum,tokens,perplexity");
  for (const ClientSummary& client : run.clients) {
    csv.Text(client.name).Text(client.group).Number(client.sessions);
    csv.Number(client.contributions);
    csv.Number(client.bytes_down).Number(client.bytes_up);
    csv.Number(client.last_version);
    csv.Number(client.last_version ? std::optional(client.last.nll_sum)
                                   : std::nullopt);
    csv.Number(client.last_version ? std::optional(client.last.tokens)
                                   : std::nullopt);
    csv.Number(client.last.Perplexity()).EndRow();
  }
  return csv.text();
}

std::string GroupsCsv(const RunSummary& run) {
  CsvTable csv(
      "group,clients,contributions,version,perplexity,measured_clients,mean,"
      "deviation,worst_decile,jain");
  for (const GroupSummary& group : run.groups) {
    csv.Text(group.name).Number(group.clients).Number(group.contributions);
    csv.Number(group.spread ? run.measured_version : std::nullopt);
    csv.Number(group.measure.Perplexity());
    const auto spread = [&](auto Spread::*figure) {
      csv.Number(group.spread ? std::optional((*group.spread).*figure)
                              : std::nullopt);
    };
    spread(&Spread::clients);
    spread(&Spread::mean);
    spread(&Spread::deviation);
    spread(&Spread::worst_decile);
    spread(&Spread::jain);
    csv.EndRow();
  }
  return csv.text();
}

}  // namespace edgetune
