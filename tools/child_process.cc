#include "tools/child_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/status.h"

extern char** environ;

namespace edgetune {
namespace {

namespace fs = std::filesystem;

std::atomic<bool> interrupted{false};
std::atomic<bool> ended{false};
// Readable after an interrupt; one that comes just before a wait ends it.
int interrupt_event = -1;
static_assert(std::atomic<bool>::is_always_lock_free);  // for the handler

// Everything a new process needs, made before fork: between fork and exec only
// async-signal-safe calls are allowed.
struct Prepared {
  std::vector<std::string> strings;
  std::vector<char*> arguments, environment;
};

Prepared Prepare(const ChildProcess::Command& command) {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text(*entry);
    const size_t equals = text.find('=');
    if (equals == std::string::npos) continue;
    variables[text.substr(0, equals)] = text.substr(equals + 1);
  }
  for (const auto& [name, value] : command.environment) variables[name] = value;
  Prepared made;
  for (const auto& [name, value] : variables) {
    made.strings.push_back(name + "=" + value);
  }
  for (std::string& text : made.strings)
    made.environment.push_back(text.data());
  for (const std::string& text : command.arguments) {
    made.arguments.push_back(const_cast<char*>(text.c_str()));
  }
  made.arguments.push_back(nullptr);
  made.environment.push_back(nullptr);
  return made;
}

[[noreturn]] void RunChild(const Prepared& prepared, int log, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // it died before prctl
  std::signal(SIGPIPE, SIG_DFL);
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, 0);
  dup2(log, 1);
  dup2(log, 2);
  execve(prepared.arguments[0], prepared.arguments.data(),
         prepared.environment.data());
  constexpr char kMessage[] = "error: the program could not be executed\n";
  [[maybe_unused]] auto ignored = write(2, kMessage, sizeof kMessage - 1);
  _exit(127);
}

void OnInterrupt(int signal) {
  if (signal != SIGINT) ended = true;
  interrupted = true;
  const int before = errno;
  const uint64_t one = 1;
  [[maybe_unused]] auto ignored = write(interrupt_event, &one, sizeof one);
  errno = before;
}

void ForgetInterruptEvent() {
  uint64_t count;
  [[maybe_unused]] auto ignored = read(interrupt_event, &count, sizeof count);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const Command& command) {
  const std::string& program = command.arguments.front();
  if (access(program.c_str(), X_OK) != 0) {
    return Annotate(ErrnoStatus(errno, "cannot execute", program),
                    ErrorKind::kFailed,
                    "build or install all of edgetune's programs together");
  }
  const int log = open(command.log.c_str(),
                       O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log < 0) return ErrnoStatus(errno, "cannot write", command.log);
  const Prepared prepared = Prepare(command);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) RunChild(prepared, log, parent);
  const int error = errno;
  close(log);
  if (pid < 0) return ErrnoStatus(error, "cannot start", program);
  return std::unique_ptr<ChildProcess>(new ChildProcess(pid));
}

ChildProcess::~ChildProcess() { Stop(absl::Seconds(5)); }

bool ChildProcess::Poll() {
  if (has_ended_) return true;
  int status = 0;
  rusage usage{};
  if (wait4(pid_, &status, WNOHANG, &usage) != pid_) return false;
  has_ended_ = true;
  ended_.exit_code =
      WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  ended_.peak_rss_bytes = int64_t{usage.ru_maxrss} * 1024;
  return true;
}

void ChildProcess::Terminate() {
  if (!Poll()) kill(pid_, SIGTERM);
}

const ChildProcess::Ended& ChildProcess::Stop(absl::Duration grace) {
  Terminate();
  const absl::Time limit = absl::Now() + grace;
  bool killed = false;
  while (!Poll()) {
    if (!killed && absl::Now() > limit) {
      kill(-pid_, SIGKILL);
      kill(pid_, SIGKILL);
      killed = true;
    }
    absl::SleepFor(absl::Milliseconds(10));
  }
  return ended_;
}

std::string FindProgram(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::string rest = path == nullptr ? "/usr/bin:/bin" : path;
  while (!rest.empty()) {
    const size_t colon = rest.find(':');
    const std::string candidate = rest.substr(0, colon) + "/" + name;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
    rest = colon == std::string::npos ? "" : rest.substr(colon + 1);
  }
  return "";
}

std::string ProgramDirectory() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  return error ? "." : self.parent_path().string();
}

std::string LastLines(const std::string& path, size_t lines) {
  absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return "";
  while (!text->empty() && text->back() == '\n') text->pop_back();
  size_t at = text->size();
  while (lines-- > 0 && at != std::string::npos && at > 0) {
    at = text->rfind('\n', at - 1);
  }
  return at == std::string::npos || at == 0 ? *text : text->substr(at + 1);
}

absl::StatusOr<std::unique_ptr<TemporaryDirectory>> TemporaryDirectory::Make(
    const std::string& parent, const std::string& prefix) {
  const char* wish = std::getenv("TMPDIR");
  const std::string root = !parent.empty()                      ? parent
                           : wish != nullptr && wish[0] != '\0' ? wish
                                                                : "/tmp";
  std::string path = root + "/" + prefix + "XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    return ErrnoStatus(errno, "cannot make a directory in", root);
  }
  return std::unique_ptr<TemporaryDirectory>(new TemporaryDirectory(path));
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  if (!keep_) fs::remove_all(path_, ignored);
}

void CatchInterrupts() {
  if (interrupt_event < 0) {
    interrupt_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  }
  struct sigaction action {};
  action.sa_handler = OnInterrupt;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGHUP, &action, nullptr);
}

const std::atomic<bool>& InterruptFlag() { return interrupted; }

bool Interrupted() { return interrupted; }

absl::Status InterruptedError(std::string_view outcome) {
  return Annotate(
      absl::CancelledError(outcome.empty()
                               ? std::string("interrupted")
                               : fmt::format("interrupted: {}", outcome)),
      ErrorKind::kFailed);
}

bool TakeKeyboardInterrupt() {
  ForgetInterruptEvent();
  return !ended && interrupted.exchange(false);
}

bool WaitForInput(int descriptor) {
  pollfd waited[] = {{descriptor, POLLIN, 0}, {interrupt_event, POLLIN, 0}};
  while (!interrupted) {
    const int ready = poll(waited, 2, -1);
    if (ready < 0 && errno != EINTR) return true;  // reading will say why
    if (ready > 0 && waited[1].revents == 0) return true;
    ForgetInterruptEvent();
  }
  return false;
}

}  // namespace edgetune
