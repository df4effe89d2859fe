#ifndef EDGETUNE_TOOLS_CHILD_PROCESS_H_
#define EDGETUNE_TOOLS_CHILD_PROCESS_H_

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace edgetune {

// A program started by this one, in a process group of its own, with stdout
// and stderr appended to a log file. It never outlives this process: the
// kernel kills it when the starting thread ends, however that happens.
//
// Life: Start, Poll..., Stop (or destroy, which stops it). One thread, which
// must be the one that runs as long as the child should.
class ChildProcess {
 public:
  struct Command {
    std::vector<std::string> arguments;  // [0] is the program's path
    std::vector<std::pair<std::string, std::string>> environment;  // added
    std::string log;
  };
  struct Ended {
    int exit_code = 0;  // 128 + signal when killed by one
    int64_t peak_rss_bytes = 0;
  };

  // kFailed: cannot be started.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(
      const Command& command);
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Whether it has ended; then ended() tells how. Does not wait.
  bool Poll();
  const Ended& ended() const { return ended_; }
  // SIGTERM now, without waiting for it.
  void Terminate();
  // SIGTERM, and SIGKILL to its group after `grace`.
  const Ended& Stop(absl::Duration grace);

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}

  const pid_t pid_;
  bool has_ended_ = false;
  Ended ended_;
};

// The program's path, looked up in PATH; "" when it is not there.
std::string FindProgram(const std::string& name);
// The directory that this program lies in.
std::string ProgramDirectory();
// The last `lines` lines of a file, for error reports; "" when unreadable.
std::string LastLines(const std::string& path, size_t lines);

// A directory that goes, with all in it, when this does (unless kept).
class TemporaryDirectory {
 public:
  // `parent` empty: TMPDIR, else /tmp.
  static absl::StatusOr<std::unique_ptr<TemporaryDirectory>> Make(
      const std::string& parent, const std::string& prefix);
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  void Keep() { keep_ = true; }

 private:
  explicit TemporaryDirectory(std::string path) : path_(std::move(path)) {}

  const std::string path_;
  bool keep_ = false;
};

// From now on SIGINT and SIGTERM only set what Interrupted() tells, and what
// stands in the flag.
void CatchInterrupts();
bool Interrupted();
// What is returned then: Cancelled (kFailed). `outcome`: "nothing was written".
absl::Status InterruptedError(std::string_view outcome = "");
const std::atomic<bool>& InterruptFlag();
// Whether Ctrl-C (SIGINT) came since the last call, and nothing that ends the
// program: Interrupted() is then false again. For what Ctrl-C only ends a part
// of.
bool TakeKeyboardInterrupt();
// Returns when there is something to read, or the end, at `descriptor`; false:
// an interrupt came first, also one that came before the call.
bool WaitForInput(int descriptor);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_CHILD_PROCESS_H_
