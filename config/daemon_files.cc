#include "config/daemon_files.h"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>

#include "base/status.h"
#include "config/settings.h"
#include "config/toml_reader.h"

namespace edgetune {
namespace {

const std::vector<std::string>& LogLevels() {
  static const auto* levels =
      new std::vector<std::string>{"debug", "info", "warning", "error", "off"};
  return *levels;
}

absl::Status ReadInto(const std::string& path, Settings& settings,
                      const std::vector<std::string>& required) {
  EDGETUNE_ASSIGN_OR_RETURN(const auto entries, ReadTomlFile(path));
  EDGETUNE_RETURN_IF_ERROR(settings.Apply(entries));
  for (const std::string& key : required) {
    if (settings.OriginOf(key) == "default") {
      return absl::InvalidArgumentError(
          fmt::format("{}: required key {} is missing", path, key));
    }
  }
  return absl::OkStatus();
}

// Relative paths are relative to the file that states them.
void Anchor(const std::string& file,
            std::initializer_list<std::string*> paths) {
  const auto directory = std::filesystem::path(file).parent_path();
  for (std::string* path : paths) {
    if (!path->empty()) {
      *path = (directory / *path).lexically_normal().string();
    }
  }
}

bool ParseNumber(std::string_view digits, int limit, int* value) {
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), *value);
  return error == std::errc() && end == digits.data() + digits.size() &&
         *value >= 0 && *value <= limit && digits[0] != '-';
}

// host:port, [v6]:port
absl::Status CheckAddress(const std::string& origin, const std::string& key,
                          const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon != address.npos && colon > 0 &&
      ParseNumber(std::string_view(address).substr(colon + 1), 65535, &port)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("{}: {} is {}, wanted host:port, port 0 to 65535", origin,
                  key, TomlText(address)));
}

std::optional<int> ParseMinute(std::string_view text) {
  int hour = 0, minute = 0;
  if (text.size() != 5 || text[2] != ':' ||
      !ParseNumber(text.substr(0, 2), 23, &hour) ||
      !ParseNumber(text.substr(3), 59, &minute)) {
    return std::nullopt;
  }
  return hour * 60 + minute;
}

absl::Status ReadServer(const std::string& path, ServerFile& file) {
  Settings settings;
  settings.Text("listen", &file.listen);
  settings.Text("kit", &file.kit);
  settings.Text("state", &file.state);
  settings.Text("deny", &file.deny);
  settings.Word("log", &file.log, LogLevels());
  settings.Text("roster", &file.roster);
  EDGETUNE_RETURN_IF_ERROR(ReadInto(path, settings, {"kit", "state"}));
  EDGETUNE_RETURN_IF_ERROR(
      CheckAddress(settings.OriginOf("listen"), "listen", file.listen));
  Anchor(path, {&file.kit, &file.state, &file.deny, &file.roster});
  return absl::OkStatus();
}

absl::Status ReadEnroll(const std::string& path, EnrollFile& file) {
  Settings settings;
  settings.Text("listen", &file.listen);
  settings.Text("kit", &file.kit);
  settings.Text("state", &file.state);
  settings.Text("publish", &file.publish);
  settings.Whole("failures_per_minute", &file.failures_per_minute, 1, 100000);
  settings.Word("log", &file.log, LogLevels());
  EDGETUNE_RETURN_IF_ERROR(ReadInto(path, settings, {"kit", "state"}));
  EDGETUNE_RETURN_IF_ERROR(
      CheckAddress(settings.OriginOf("listen"), "listen", file.listen));
  Anchor(path, {&file.kit, &file.state, &file.publish});
  return absl::OkStatus();
}

absl::Status ReadClient(const std::string& path, ClientFile& file) {
  Settings settings;
  std::string window;
  settings.Text("server", &file.server);
  settings.Text("enroll", &file.enroll);
  settings.Text("kit", &file.kit);
  settings.Text("state", &file.state);
  settings.Text("cache", &file.cache);
  settings.Text("population", &file.population);
  settings.Text("data.train", &file.data.train);
  settings.Text("data.heldout", &file.data.heldout);
  settings.Text("data.name", &file.data.name);
  settings.Word("train.engine", &file.train.engine,
                {"auto", "fused", "reference"});
  settings.Whole("train.threads", &file.train.threads, 0, 1024);
  settings.Time("train.checkpoint_every", &file.train.checkpoint_every,
                absl::ZeroDuration(), absl::Hours(24));
  settings.Bytes("train.memory_budget", &file.train.memory_budget,
                 kSmallestMemoryBudget, kLargestMemoryBudget);
  settings.Whole("train.rank", &file.train.rank, 0, 1024);
  settings.Text("train.teacher", &file.train.teacher);
  settings.Text("policy.window", &window);
  settings.Whole("policy.min_cohort", &file.policy.min_cohort, 0, 300);
  settings.Word("log", &file.log, LogLevels());
  settings.Planned({"policy.require", "policy.battery", "policy.temperature"});
  EDGETUNE_RETURN_IF_ERROR(
      ReadInto(path, settings, {"kit", "state", "data.train"}));
  for (const auto& [key, address] :
       {std::pair("server", &file.server), std::pair("enroll", &file.enroll)}) {
    if (address->empty()) continue;
    EDGETUNE_RETURN_IF_ERROR(
        CheckAddress(settings.OriginOf(key), key, *address));
  }
  if (!window.empty()) {
    auto parsed = ParseDailyWindow(window);
    if (!parsed.ok()) {
      return Prefix(parsed.status(),
                    settings.OriginOf("policy.window") + ": policy.window");
    }
    file.policy.window = *parsed;
  }
  Anchor(path, {&file.kit, &file.state, &file.cache, &file.data.train,
                &file.data.heldout, &file.train.teacher});
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DailyWindow> ParseDailyWindow(const std::string& text) {
  if (text.size() == 11 && text[5] == '-') {
    const auto start = ParseMinute(std::string_view(text).substr(0, 5));
    const auto end = ParseMinute(std::string_view(text).substr(6));
    if (start && end && *start != *end) return DailyWindow{*start, *end};
  }
  return absl::InvalidArgumentError(
      fmt::format("time window is {}, wanted two different times such as "
                  "\"22:00-06:00\"",
                  TomlText(text)));
}

absl::StatusOr<ServerFile> ReadServerFile(const std::string& path) {
  ServerFile file;
  const absl::Status status = ReadServer(path, file);
  if (!status.ok()) return Annotate(status, ErrorKind::kConfig);
  return file;
}

absl::StatusOr<EnrollFile> ReadEnrollFile(const std::string& path) {
  EnrollFile file;
  const absl::Status status = ReadEnroll(path, file);
  if (!status.ok()) return Annotate(status, ErrorKind::kConfig);
  return file;
}

absl::StatusOr<ClientFile> ReadClientFile(const std::string& path) {
  ClientFile file;
  const absl::Status status = ReadClient(path, file);
  if (!status.ok()) return Annotate(status, ErrorKind::kConfig);
  return file;
}

}  // namespace edgetune
