#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/status.h"
#include "base/units.h"
#include "protos/masking.h"
#include "protos/run_status.h"
#include "tools/data/wordnet.h"
#include "tools/federation/demo_fleet.h"
#include "tools/federation/demo_summary.h"
#include "tools/federation/masking_text.h"
#include "tools/federation/plan_builder.h"
#include "tools/federation/receipts.h"
#include "tools/federation/run_report.h"
#include "tools/model/model_fetch.h"
#include "tools/model/model_path.h"
#include "tools/operator_calls.h"
#include "tools/progress.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

constexpr size_t kDefinitions = 3;
constexpr char kPopulation[] = "demo", kUsualModel[] = "smollm2-135m";

struct DemoOptions {
  std::string out;
  std::string model;  // empty: kUsualModel, or without a network kTinyModel
  std::vector<std::string> topics, sets;
  int64_t clients = 4, rounds = 3;
  std::string dictionary = WordNetOptions().dictionary;
  bool keep = false, offline = false;
};

bool CanMask(const DemoOptions& options) {
  return options.topics.size() >= kSecAggSmallestCohort;
}

std::string SecAggText(const DemoOptions& options) {
  if (CanMask(options)) return "[secagg]\nenabled = true\n";
  return fmt::format(
      "[secagg]\n"
      "# Masking needs {} clients; of {} the coordinator sees each update.\n"
      "enabled = false\n",
      kSecAggSmallestCohort, options.topics.size());
}

// A step of the small model takes a hundredth of the time, and does less.
std::string StepsText(const DemoOptions& options) {
  return options.model == kTinyModel ? "lr = 5e-3\nsteps = 30"
                                     : "lr = 1e-3\nsteps = 6";
}

std::string RunFileText(const DemoOptions& options) {
  return fmt::format(
      "# What `edgetune demo` ran.\n"
      "schema = 1\n"
      "[model]\nbase = {}\n"
      "[lora]\nrank = 8\nalpha = 16\n"
      "targets = [\"q_proj\", \"k_proj\", \"v_proj\", \"o_proj\"]\n"
      "[train]\n{}\nbatch = 8\nmicro_batch = 4\nseed = 1\n"
      "[fleet]\npopulation = \"{}\"\n"
      "[rounds]\ncount = {}\ncohort = {}\nover_select = 1.0\n"
      "eval_examples = 32\ndeadline = \"10m\"\n"
      "{}",
      TomlString(options.model), StepsText(options), kPopulation,
      options.rounds, options.topics.size(), SecAggText(options));
}

// The main job as a user would do it by hand: kits, data, one server, clients,
// submit, watch, download. Everything but the result lies in a temporary
// directory that goes in the end.
class Demo {
 public:
  Demo(DemoOptions options, const Output& output)
      : options_(std::move(options)), output_(output) {}

  absl::Status Run() {
    CatchInterrupts();
    absl::Status status = Prepare();
    if (status.ok()) status = Federate();
    if (fleet_ != nullptr) fleet_->Stop();
    if (!status.ok()) return Explain(status);
    result_.client_peak_rss_bytes = fleet_->client_peak_rss_bytes();
    EDGETUNE_RETURN_IF_ERROR(ReadLogs());
    EDGETUNE_RETURN_IF_ERROR(WriteResult());
    if (options_.keep) KeepAll();
    return output_.Finish(DemoJson(result_),
                          DemoText(result_, TerminalWidth(1)));
  }

 private:
  absl::Status Prepare() {
    EDGETUNE_RETURN_IF_ERROR(ChooseTopics());
    EDGETUNE_RETURN_IF_ERROR(ChooseDirectory());
    EDGETUNE_RETURN_IF_ERROR(FindModel());
    EDGETUNE_ASSIGN_OR_RETURN(temporary_,
                              TemporaryDirectory::Make("", "edgetune-demo-"));
    run_file_ = temporary_->path() + "/demo.toml";
    EDGETUNE_RETURN_IF_ERROR(
        WriteFileAtomically(run_file_, RunFileText(options_)));
    // Before anything is started: a wrong --set is told at once.
    EDGETUNE_ASSIGN_OR_RETURN(run_, PrepareRun(run_file_, options_.sets, ""));
    result_.masked = run_.built.plan.secagg().enabled();
    result_.privacy = PrivacyText(run_.built.plan);
    WordNetOptions wordnet;
    wordnet.topics = options_.topics;
    wordnet.dictionary = options_.dictionary;
    EDGETUNE_ASSIGN_OR_RETURN(
        result_.data, WriteWordNet(wordnet, temporary_->path() + "/data"));
    return absl::OkStatus();
  }

  absl::Status ChooseTopics() {
    if (!options_.topics.empty()) return absl::OkStatus();
    options_.topics = {"noun.animal", "noun.food", "verb.motion",
                       "noun.artifact"};
    if (options_.clients <= static_cast<int64_t>(options_.topics.size())) {
      options_.topics.resize(options_.clients);
      return absl::OkStatus();
    }
    EDGETUNE_ASSIGN_OR_RETURN(
        std::vector<std::string> largest,
        LargestTopics(options_.dictionary, WordNetTopics().size()));
    for (const std::string& topic : largest) {
      if (static_cast<int64_t>(options_.topics.size()) == options_.clients) {
        break;
      }
      const auto& have = options_.topics;
      if (std::find(have.begin(), have.end(), topic) == have.end()) {
        options_.topics.push_back(topic);
      }
    }
    return absl::OkStatus();
  }

  absl::Status ChooseDirectory() {
    result_.directory =
        !options_.out.empty()
            ? options_.out
            : fmt::format("{}/demo/{}", DataDirectory(),
                          absl::FormatTime("%Y%m%d-%H%M%S", absl::Now(),
                                           absl::LocalTimeZone()));
    for (const std::string& path :
         {result_.adapter(), result_.gguf(), result_.run_file(),
          result_.receipt_directory()}) {
      EDGETUNE_RETURN_IF_ERROR(CheckAbsent(path));
    }
    return CheckWritableParent(result_.directory);
  }

  // Unless somebody asked for it, a model that cannot be fetched is none to
  // fail for.
  absl::Status ChooseModel() {
    if (!options_.model.empty()) return absl::OkStatus();
    options_.model = options_.offline ? kTinyModel : kUsualModel;
    if (options_.offline) return absl::OkStatus();
    const absl::Status fetched =
        FetchModel(*FindKnownModel(kUsualModel), "", output_).status();
    if (!absl::IsUnavailable(fetched)) return fetched;
    output_.Note(fmt::format(
        "{}: going on with the small model inside this program, as --offline",
        std::string(fetched.message())));
    options_.model = kTinyModel;
    return absl::OkStatus();
  }

  absl::Status FindModel() {
    EDGETUNE_RETURN_IF_ERROR(ChooseModel());
    const KnownModel* known = FindKnownModel(options_.model);
    if (known != nullptr) {
      EDGETUNE_RETURN_IF_ERROR(FetchModel(*known, "", output_));
    } else {
      std::error_code error;
      const fs::path absolute = fs::absolute(options_.model, error);
      if (!error) options_.model = absolute.string();
    }
    EDGETUNE_ASSIGN_OR_RETURN(result_.model_path, ResolveModel(options_.model));
    return absl::OkStatus();
  }

  absl::Status Federate() {
    fleet_ = std::make_unique<DemoFleet>(temporary_->path(), result_.data);
    EDGETUNE_RETURN_IF_ERROR(fleet_->Provision());
    EDGETUNE_RETURN_IF_ERROR(fleet_->StartServer());
    EDGETUNE_RETURN_IF_ERROR(fleet_->StartClients(run_.run.fleet.population));
    output_.Note(fmt::format(
        "one coordinator at {}, {} clients with {} thread{} each, mutual "
        "TLS\n{}",
        fleet_->address(), result_.data.size(), fleet_->threads_a_client(),
        fleet_->threads_a_client() == 1 ? "" : "s", result_.privacy));
    if (!CanMask(options_)) {
      output_.Note(fmt::format("masking needs {} clients or more",
                               kSecAggSmallestCohort));
    }
    const absl::Time start = absl::Now();
    EDGETUNE_ASSIGN_OR_RETURN(
        session_, ConnectOperator(fleet_->operator_kit(), fleet_->address()));
    const std::string key = session_.kit.release_key_path.value_or("");
    EDGETUNE_ASSIGN_OR_RETURN(v1::RunStatus status,
                              SubmitRun(session_, run_, key, output_));
    EDGETUNE_ASSIGN_OR_RETURN(status, WatchRun(status, start));
    EDGETUNE_RETURN_IF_ERROR(OutcomeOf(status));
    result_.seconds = absl::ToDoubleSeconds(absl::Now() - start);
    return TakeResult(status);
  }

  // By asking, so that a signal and a dead process are seen in between.
  absl::StatusOr<v1::RunStatus> WatchRun(v1::RunStatus status,
                                         absl::Time start) {
    const std::string run_id = status.run_id();
    LiveBlock block(output_);
    size_t told = 0;
    while (true) {
      SayPerplexities(status, told, block);
      if (HasEnded(status)) return status;
      // Nobody is there to decide.
      if (IsPaused(status)) {
        return Annotate(absl::AbortedError("paused: " + status.detail()),
                        ErrorKind::kFailed);
      }
      const double elapsed = absl::ToDoubleSeconds(absl::Now() - start);
      block.Show(RunBlock(status, elapsed), RunLine(status, elapsed));
      absl::SleepFor(absl::Milliseconds(250));
      if (Interrupted()) return InterruptedError();
      EDGETUNE_RETURN_IF_ERROR(fleet_->CheckAlive());
      EDGETUNE_ASSIGN_OR_RETURN(status, session_.client->Show(run_id));
    }
  }

  absl::Status TakeResult(const v1::RunStatus& status) {
    result_.perplexity = PerplexitiesOf(status);
    result_.run_id = ToHex(status.run_id());
    result_.clients = result_.data.size();
    result_.rounds = status.rounds_done();
    result_.bytes_down = status.bytes_down();
    result_.base_bytes_down = status.base_bytes_down();
    result_.bytes_up = status.bytes_up();
    final_status_ = status;
    EDGETUNE_ASSIGN_OR_RETURN(adapter_,
                              DownloadAdapter(session_, status, std::nullopt));
    EDGETUNE_ASSIGN_OR_RETURN(receipts_, DownloadReceipts(session_, status));
    result_.receipts = Summarise(receipts_);
    return absl::OkStatus();
  }

  // What only somebody with all devices at hand can do: each device's own log
  // against each receipt it is in.
  absl::Status ReadLogs() {
    for (const HeldReceipt& receipt : receipts_) {
      for (const WordNetFile& file : result_.data) {
        const std::string device = DeviceIdOf(file.topic);
        const auto place =
            secagg::FindInReceipt(receipt.checked, ClientIdOf(device));
        if (!place.has_value() || !place->survived) continue;
        ++result_.receipts.logs;
        const auto own = AskDevice(receipt.checked, session_.kit.trusted,
                                   device, fleet_->StateOf(device));
        if (own.ok()) {
          ++result_.receipts.logs_agree;
        } else if (!absl::IsNotFound(own.status())) {
          return Prefix(own.status(), device);
        }
      }
    }
    return absl::OkStatus();
  }

  absl::Status WriteResult() {
    EDGETUNE_RETURN_IF_ERROR(MakeDirectories(result_.directory));
    EDGETUNE_RETURN_IF_ERROR(
        WriteRunAdapter(result_.adapter(), adapter_, final_status_));
    EDGETUNE_RETURN_IF_ERROR(
        WriteGgufAdapter(result_.gguf(), adapter_.adapter, run_.model->config(),
                         ModelDisplayName(options_.model)));
    EDGETUNE_RETURN_IF_ERROR(WriteReceipts(result_.directory, receipts_));
    if (!receipts_.empty()) {
      // Public keys alone: the kits go with the working directory.
      EDGETUNE_ASSIGN_OR_RETURN(const std::string kit,
                                ReadFile(fleet_->operator_kit() + "/kit.json"));
      EDGETUNE_RETURN_IF_ERROR(
          WriteFileAtomically(result_.receipt_directory() + "/kit.json", kit));
    }
    EDGETUNE_ASSIGN_OR_RETURN(std::string text, ReadFile(run_file_));
    for (const std::string& set : options_.sets)
      text += "# --set " + set + "\n";
    EDGETUNE_RETURN_IF_ERROR(WriteFileAtomically(result_.run_file(), text));
    output_.Note("asking base and tuned model for held-out definitions");
    EDGETUNE_ASSIGN_OR_RETURN(result_.definitions,
                              DefineHeldOut(options_.model, result_.adapter(),
                                            result_.data, kDefinitions));
    return absl::OkStatus();
  }

  void KeepAll() {
    temporary_->Keep();
    output_.Note("kept: " + temporary_->path());
  }

  // What people need to find out why, and nothing else, is left.
  absl::Status Explain(absl::Status status) {
    if (fleet_ == nullptr || Interrupted()) return status;
    WriteStderr(fleet_->LogTails());
    if (options_.keep) {
      KeepAll();
    } else {
      fleet_->KeepLogsOnly();
      temporary_->Keep();
    }
    return Annotate(Prefix(status, "the demo failed"), ErrorKind::kFailed,
                    "the logs are kept in " + fleet_->log_directory());
  }

  DemoOptions options_;
  const Output& output_;
  // Destroyed last: everything below lives in it.
  std::unique_ptr<TemporaryDirectory> temporary_;
  std::string run_file_;
  PreparedRun run_;
  std::unique_ptr<DemoFleet> fleet_;
  OperatorSession session_;
  v1::RunStatus final_status_;
  DownloadedAdapter adapter_;
  std::vector<HeldReceipt> receipts_;
  DemoResult result_;
};

}  // namespace

void AddDemoVerb(CLI::App& app, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<DemoOptions>();
  CLI::App* verb =
      AddVerb(app, invocation, "demo",
              "The whole thing on this machine: server, clients, a better "
              "model",
              [options, &output] { return Demo(*options, output).Run(); });
  verb->add_option("--out", options->out,
                   "Where the adapter goes (default: "
                   "$XDG_DATA_HOME/edgetune/demo/<time>)");
  auto* clients = verb->add_option("--clients", options->clients,
                                   "Clients, each with a topic of its own")
                      ->check(CLI::Range(1, 45))
                      ->capture_default_str();
  verb->add_option("--topics", options->topics,
                   "WordNet topics, one a client, with commas")
      ->delimiter(',')
      ->excludes(clients);
  verb->add_option("--rounds", options->rounds, "Training rounds")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  auto* model = verb->add_option("--model", options->model,
                                 "Name or GGUF file (default: smollm2-135m)");
  verb->add_flag("--offline", options->offline,
                 "With the model inside this program: no network is used")
      ->excludes(model);
  verb->add_option("--set", options->sets, "Override a key: train.lr=1e-4");
  verb->add_option("--dict", options->dictionary, "WordNet's dictionary files")
      ->capture_default_str();
  verb->add_flag("--keep", options->keep, "Keep the working directory");
}

}  // namespace edgetune
