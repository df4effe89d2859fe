#ifndef EDGETUNE_BASE_LOG_H_
#define EDGETUNE_BASE_LOG_H_

#include <string>
#include <string_view>

namespace edgetune {

// Lines on stderr with time and level, for daemons and tools alike. Never a
// key, an example, a token or an update. A message is shown as a TerminalLine:
// what a peer calls itself cannot begin a line. Thread-safe.
enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

void SetLogLevel(LogLevel level);  // default kInfo
// "debug", "info", "warning", "error", "off"; false when unknown.
bool ParseLogLevel(std::string_view name, LogLevel* level);

void LogDebug(const std::string& message);
void LogInfo(const std::string& message);
void LogWarning(const std::string& message);
void LogError(const std::string& message);

}  // namespace edgetune

#endif  // EDGETUNE_BASE_LOG_H_
