#include "tools/federation/demo_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/status.h"
#include "base/units.h"
#include "tools/child_process.h"
#include "tools/local/scoring.h"
#include "tools/output.h"

namespace edgetune {
namespace {

constexpr int64_t kDefinitionTokens = 48;

// An everyday word: short, lower-case letters only.
bool IsPlain(const Definition& definition) {
  const std::string word =
      definition.prompt.substr(definition.prompt.rfind(' ') + 1);
  return definition.prompt == "Define: " + word && word.size() <= 8 &&
         std::all_of(word.begin(), word.end(),
                     [](char c) { return c >= 'a' && c <= 'z'; });
}

// The first held-out example with a plain word, else the first, of a file
// that we wrote ourselves.
absl::StatusOr<Definition> ChooseExample(const std::string& path) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
  Definition first;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const auto json = nlohmann::json::parse(text.substr(at, end - at), nullptr,
                                            /*allow_exceptions=*/false);
    at = end + 1;
    if (!json.is_object() || !json.contains("messages")) break;
    const auto& messages = json["messages"];
    if (!messages.is_array() || messages.size() != 2) break;
    Definition definition;
    definition.prompt = messages[0].value("content", "");
    definition.wanted = messages[1].value("content", "");
    if (IsPlain(definition)) return definition;
    if (first.prompt.empty()) first = definition;
  }
  if (!first.prompt.empty()) return first;
  return absl::DataLossError(path + " does not begin with an example");
}

absl::StatusOr<std::string> AnswerOf(ScoringModel& model, bool tuned,
                                     const std::string& prompt) {
  EDGETUNE_RETURN_IF_ERROR(model.UseAdapter(tuned));
  EDGETUNE_ASSIGN_OR_RETURN(std::vector<int32_t> tokens,
                            EncodePrompt(*model.file, "", prompt, false));
  GenerateOptions options;
  options.max_tokens = kDefinitionTokens;
  options.stop_tokens = StopTokens(*model.file);
  EDGETUNE_ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                            model.model->Generate(tokens, options, [](int32_t) {
                              return !Interrupted();
                            }));
  std::string text = model.file->tokenizer().Decode(ids);
  if (static_cast<int64_t>(ids.size()) == kDefinitionTokens) text += " ...";
  return text;
}

std::string PerplexityText(const DemoResult& result) {
  std::string text =
      fmt::format("Held-out perplexity (assistant tokens, {} topics)\n",
                  result.data.size());
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < result.perplexity.size(); ++i) {
    rows.push_back({i == 0 ? std::string("  base model")
                           : fmt::format("  after round {}", i),
                    fmt::format("{:.2f}", result.perplexity[i])});
  }
  text += FormatTable(rows, {1});
  if (result.perplexity.size() > 1) {
    text += fmt::format(
        "  change        {:+.1f} %\n",
        100 * (result.perplexity.back() / result.perplexity.front() - 1));
  }
  return text;
}

std::string TrafficText(const DemoResult& result) {
  return fmt::format(
      "{} rounds with {} clients in {}; the largest client took {}\n"
      "Sent down {}: base model {} (once to each), adapters {}; sent up {}\n",
      result.rounds, result.clients, FormatSeconds(result.seconds),
      FormatBytes(result.client_peak_rss_bytes), FormatBytes(result.bytes_down),
      FormatBytes(result.base_bytes_down),
      FormatBytes(result.bytes_down - result.base_bytes_down),
      FormatBytes(result.bytes_up));
}

std::string UseText(const DemoResult& result) {
  const std::string prompt = result.definitions.empty()
                                 ? "Define: dog"
                                 : result.definitions.front().prompt;
  return fmt::format(
      "The adapter\n"
      "  PEFT       {0}\n"
      "  llama.cpp  {1}\n"
      "  run file   {2}\n"
      "Use it\n"
      "  edgetune generate --model {3} --adapter {0} --prompt \"{4}\" "
      "--compare\n"
      "  llama-cli -m {3} --lora {1} -p \"{4}\"\n"
      "  PeftModel.from_pretrained(base_model, \"{0}\")\n",
      result.adapter(), result.gguf(), result.run_file(), result.model_path,
      prompt);
}

std::string SignersText(const DemoReceipts& receipts) {
  return receipts.fewest_signers == receipts.members
             ? fmt::format("all {} devices", receipts.members)
             : fmt::format("{} or more of {} devices", receipts.fewest_signers,
                           receipts.members);
}

std::string SeenText(const DemoResult& result) {
  const std::string examples =
      "The examples themselves never left their client's process.\n";
  if (!result.masked) return "Privacy: " + result.privacy + ".\n" + examples;
  const DemoReceipts& receipts = result.receipts;
  return fmt::format(
      "Privacy: the server saw {} masked vectors a round (looking like random "
      "numbers) and\nlearned their sum: of updates, weights, held-out losses; "
      "{} signed which ones\nwere in it ({} had to), and {} of {} entries of "
      "their own logs agree with the receipts.\n{}Check a receipt\n"
      "  edgetune receipt verify {}/round-1.pb --kit {}\n",
      receipts.fewest_in_sum, SignersText(receipts), receipts.threshold,
      receipts.logs_agree, receipts.logs, examples, result.receipt_directory(),
      result.receipt_directory());
}

}  // namespace

DemoReceipts Summarise(const std::vector<HeldReceipt>& receipts) {
  DemoReceipts summary;
  for (const HeldReceipt& receipt : receipts) {
    DemoReceipts round;
    for (const auto& group : receipt.checked.groups) {
      round.members += group.members;
      round.threshold += group.threshold;
      round.fewest_in_sum += group.survivors;
      round.fewest_signers += group.signers;
    }
    const bool first = summary.count++ == 0;
    if (first || round.members > summary.members) {
      summary.members = round.members;
      summary.threshold = round.threshold;
    }
    const auto least = [first](int64_t& known, int64_t value) {
      known = first ? value : std::min(known, value);
    };
    least(summary.fewest_in_sum, round.fewest_in_sum);
    least(summary.fewest_signers, round.fewest_signers);
  }
  return summary;
}

absl::StatusOr<std::vector<Definition>> DefineHeldOut(
    const std::string& model, const std::string& adapter,
    const std::vector<WordNetFile>& data, size_t count) {
  ScoringOptions options;
  options.model = model;
  options.adapter = adapter;
  EDGETUNE_ASSIGN_OR_RETURN(ScoringModel opened, OpenForScoring(options));
  EDGETUNE_RETURN_IF_ERROR(StartEngine(options, opened));
  std::vector<Definition> definitions;
  for (size_t i = 0; i < std::min(count, data.size()); ++i) {
    EDGETUNE_ASSIGN_OR_RETURN(Definition definition,
                              ChooseExample(data[i].heldout));
    EDGETUNE_ASSIGN_OR_RETURN(definition.base,
                              AnswerOf(opened, false, definition.prompt));
    EDGETUNE_ASSIGN_OR_RETURN(definition.tuned,
                              AnswerOf(opened, true, definition.prompt));
    if (Interrupted()) break;  // half an answer is none
    definitions.push_back(std::move(definition));
  }
  return definitions;
}

nlohmann::json DemoJson(const DemoResult& result) {
  nlohmann::json definitions = nlohmann::json::array();
  for (const Definition& d : result.definitions) {
    definitions.push_back({{"prompt", d.prompt},
                           {"wordnet", d.wanted},
                           {"base", d.base},
                           {"tuned", d.tuned}});
  }
  nlohmann::json topics = nlohmann::json::array();
  for (const WordNetFile& file : result.data) topics.push_back(file.topic);
  return {{"perplexity", result.perplexity},
          {"seconds", result.seconds},
          {"clients", result.clients},
          {"rounds", result.rounds},
          {"bytes_down", result.bytes_down},
          {"base_bytes_down", result.base_bytes_down},
          {"bytes_up", result.bytes_up},
          {"client_peak_rss_mb", result.client_peak_rss_bytes / 1e6},
          {"adapter", result.adapter()},
          {"adapter_gguf", result.gguf()},
          {"run_file", result.run_file()},
          {"run_id", result.run_id},
          {"model", result.model_path},
          {"topics", topics},
          {"definitions", definitions},
          {"masked", result.masked},
          {"receipts", result.receipts.count}};
}

std::string DemoText(const DemoResult& result, int width) {
  std::string text =
      fmt::format("\n{}\n{}\n", PerplexityText(result), TrafficText(result));
  for (const Definition& d : result.definitions) {
    text += fmt::format("{}   (WordNet: {})\n{}\n", d.prompt, d.wanted,
                        SideBySide("base", d.base, "tuned", d.tuned, width));
  }
  return text + UseText(result) + SeenText(result);
}

}  // namespace edgetune
