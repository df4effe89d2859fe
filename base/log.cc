#include "base/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "base/terminal_text.h"

namespace edgetune {
namespace {

spdlog::logger& Logger() {
  // Leaked on purpose: threads may log while the process exits.
  static spdlog::logger* logger = [] {
    auto* made = new spdlog::logger(
        "edgetune", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%-7l%$ %v");
    made->flush_on(spdlog::level::info);
    return made;
  }();
  return *logger;
}

}  // namespace

void SetLogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return Logger().set_level(spdlog::level::debug);
    case LogLevel::kInfo:
      return Logger().set_level(spdlog::level::info);
    case LogLevel::kWarning:
      return Logger().set_level(spdlog::level::warn);
    case LogLevel::kError:
      return Logger().set_level(spdlog::level::err);
    case LogLevel::kOff:
      return Logger().set_level(spdlog::level::off);
  }
}

bool ParseLogLevel(std::string_view name, LogLevel* level) {
  constexpr std::pair<std::string_view, LogLevel> kNames[] = {
      {"debug", LogLevel::kDebug},
      {"info", LogLevel::kInfo},
      {"warning", LogLevel::kWarning},
      {"error", LogLevel::kError},
      {"off", LogLevel::kOff}};
  for (const auto& [known, value] : kNames) {
    if (name == known) {
      *level = value;
      return true;
    }
  }
  return false;
}

void LogDebug(const std::string& m) { Logger().debug("{}", TerminalLine(m)); }
void LogInfo(const std::string& m) { Logger().info("{}", TerminalLine(m)); }
void LogWarning(const std::string& m) { Logger().warn("{}", TerminalLine(m)); }
void LogError(const std::string& m) { Logger().error("{}", TerminalLine(m)); }

}  // namespace edgetune
