#include "tools/federation/demo_fleet.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <thread>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/status.h"
#include "privacy/identity/provision.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kServerStart = absl::Seconds(60);
constexpr absl::Duration kGrace = absl::Seconds(15);

int64_t ThreadsAClient(size_t clients) {
  const int64_t cores = std::max(1u, std::thread::hardware_concurrency());
  return std::max<int64_t>(1, cores / std::max<size_t>(1, clients));
}

}  // namespace

std::string DeviceIdOf(const std::string& topic) {
  std::string id = topic;
  std::transform(id.begin(), id.end(), id.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return id;
}

std::string TomlString(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04x}", static_cast<int>(c));
      continue;
    }
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

DemoFleet::DemoFleet(std::string directory, std::vector<WordNetFile> data)
    : directory_(std::move(directory)),
      data_(std::move(data)),
      threads_(ThreadsAClient(data_.size())) {}

absl::Status DemoFleet::Provision() {
  ProvisionOptions options;
  options.directory = directory_ + "/kits";
  options.server_address = "localhost:7443";
  for (const WordNetFile& file : data_) {
    options.device_ids.push_back(DeviceIdOf(file.topic));
  }
  options.now = absl::Now();
  EDGETUNE_RETURN_IF_ERROR(edgetune::Provision(options));
  return MakeDirectories(log_directory(), 0700);
}

absl::StatusOr<DemoFleet::Process> DemoFleet::Start(
    const std::string& name, std::vector<std::string> arguments) {
  Process process;
  process.name = name;
  process.log = fmt::format("{}/{}.log", log_directory(), name);
  arguments.front() = ProgramDirectory() + "/" + arguments.front();
  const std::string threads = fmt::format("{}", threads_);
  EDGETUNE_ASSIGN_OR_RETURN(
      process.child,
      ChildProcess::Start(
          {std::move(arguments), {{"OMP_NUM_THREADS", threads}}, process.log}));
  return process;
}

absl::Status DemoFleet::StartServer() {
  const std::string config = directory_ + "/server.toml";
  const std::string port_file = directory_ + "/port";
  EDGETUNE_RETURN_IF_ERROR(WriteFileAtomically(
      config, fmt::format("listen = \"127.0.0.1:0\"\nkit = {}\nstate = {}\n",
                          TomlString(directory_ + "/kits/server"),
                          TomlString(directory_ + "/server-state"))));
  EDGETUNE_ASSIGN_OR_RETURN(
      Process server, Start("server", {"edgetune-server", "serve", "--config",
                                       config, "--port-file", port_file}));
  processes_.push_back(std::move(server));
  EDGETUNE_ASSIGN_OR_RETURN(const int port,
                            WaitForPort(processes_.front(), port_file));
  address_ = fmt::format("localhost:{}", port);
  return absl::OkStatus();
}

absl::StatusOr<int> DemoFleet::WaitForPort(Process& server,
                                           const std::string& file) {
  const absl::Time limit = absl::Now() + kServerStart;
  while (absl::Now() < limit) {
    if (Interrupted()) return InterruptedError();
    EDGETUNE_RETURN_IF_ERROR(CheckAlive());
    const absl::StatusOr<std::string> text = ReadFile(file, 64);
    int port = 0;
    if (text.ok() &&
        std::from_chars(text->data(), text->data() + text->size(), port).ec ==
            std::errc() &&
        port > 0) {
      return port;
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
  return Annotate(absl::DeadlineExceededError(
                      fmt::format("the server did not listen within {} s",
                                  absl::ToInt64Seconds(kServerStart))),
                  ErrorKind::kFailed);
}

absl::Status DemoFleet::StartClients(const std::string& population) {
  for (const WordNetFile& file : data_) {
    const std::string id = DeviceIdOf(file.topic);
    const std::string config = fmt::format("{}/{}.toml", directory_, id);
    EDGETUNE_RETURN_IF_ERROR(WriteFileAtomically(
        config,
        fmt::format("server = {}\nkit = {}\nstate = {}\npopulation = {}\n"
                    "[data]\ntrain = {}\nheldout = {}\nname = {}\n"
                    "[train]\nthreads = {}\n",
                    TomlString(address_),
                    TomlString(directory_ + "/kits/devices/" + id),
                    TomlString(StateOf(id)), TomlString(population),
                    TomlString(file.train), TomlString(file.heldout),
                    TomlString(file.topic), threads_)));
    EDGETUNE_ASSIGN_OR_RETURN(
        Process client,
        Start(id, {"edgetune-client", "run", "--config", config}));
    processes_.push_back(std::move(client));
  }
  return absl::OkStatus();
}

std::string DemoFleet::StateOf(const std::string& device) const {
  return fmt::format("{}/{}-state", directory_, device);
}

absl::Status DemoFleet::CheckAlive() {
  for (Process& process : processes_) {
    if (!process.child->Poll()) continue;
    return Annotate(absl::AbortedError(fmt::format(
                        "the process {} ended early with exit code {}",
                        process.name, process.child->ended().exit_code)),
                    ErrorKind::kFailed, "its log: " + process.log);
  }
  return absl::OkStatus();
}

void DemoFleet::Stop() {
  for (size_t i = 1; i < processes_.size(); ++i) {
    processes_[i].child->Terminate();
  }
  for (size_t i = 1; i < processes_.size(); ++i) {
    client_peak_rss_ = std::max(
        client_peak_rss_, processes_[i].child->Stop(kGrace).peak_rss_bytes);
  }
  if (!processes_.empty()) processes_.front().child->Stop(kGrace);
}

std::string DemoFleet::LogTails() const {
  std::string text;
  for (const Process& process : processes_) {
    text += fmt::format("--- last lines of {}\n{}\n", process.log,
                        LastLines(process.log, 4));
  }
  return text;
}

void DemoFleet::KeepLogsOnly() {
  std::error_code error;
  std::vector<fs::path> gone;
  for (const auto& entry : fs::directory_iterator(directory_, error)) {
    const bool keep = entry.path() == fs::path(log_directory()) ||
                      entry.path().extension() == ".toml";
    if (!keep) gone.push_back(entry.path());
  }
  for (const fs::path& path : gone) fs::remove_all(path, error);
}

}  // namespace edgetune
