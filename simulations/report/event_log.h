#ifndef EDGETUNE_SIMULATIONS_REPORT_EVENT_LOG_H_
#define EDGETUNE_SIMULATIONS_REPORT_EVENT_LOG_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mapped_file.h"
#include "simulations/report/run_event.h"

namespace edgetune {

// Writes the events.jsonl of one run while it goes on. Equal calls make equal
// bytes. What was appended is with the system, and outlives this process, when
// a round ends (committed, abandoned), when the run does, and after each MiB;
// Close makes it outlive the machine.
//
// Life: Create or Repeat, Append..., Close; a log destroyed before Close is
// handed to the system as far as that goes. One thread. Errors: AlreadyExists
// (a file is there), ResourceExhausted (disk full), FailedPrecondition (a
// repeated run differs), those of FormatEvent, after which the log goes on
// without that event.
class EventLog {
 public:
  static absl::StatusOr<std::unique_ptr<EventLog>> Create(
      const std::string& path, const RunHeader& header);
  // The log of a run that was killed and is repeated from its beginning: what
  // it says already is compared, byte by byte, and what comes after is added. A
  // last line that is not whole is cut off. NotFound: there is none.
  static absl::StatusOr<std::unique_ptr<EventLog>> Repeat(
      const std::string& path, const RunHeader& header);
  ~EventLog();
  EventLog(const EventLog&) = delete;
  EventLog& operator=(const EventLog&) = delete;

  absl::Status Append(const RunEvent& event);
  absl::Status Close();

 private:
  EventLog(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  absl::Status Begin(const std::string& line);
  absl::Status CutLastLine();
  absl::Status Flush();
  absl::Status Compare();

  const std::string path_;
  int fd_;  // -1 once closed
  std::string buffer_;
  uint64_t old_ = 0;  // bytes of the log before that are still to come
  absl::Status differs_;
};

// Reads such a file line by line; it may still be growing. Of a run that was
// killed the last line may be cut: that is no error, but cut() says so.
//
// Life: Open (reads the first line), Next until it yields nothing or an error.
// One thread. Errors carry kData and name file:line: those of ParseHeader and
// ParseEvent, InvalidArgument (an event after run_finished), and those of the
// disk.
class EventReader {
 public:
  static absl::StatusOr<std::unique_ptr<EventReader>> Open(
      const std::string& path);

  // nullopt: the end. Events of unknown names are passed over.
  absl::StatusOr<std::optional<RunEvent>> Next();

  const RunHeader& header() const { return header_; }
  bool cut() const { return cut_; }             // a line without its end
  bool finished() const { return finished_; }   // run_finished was read
  int64_t unknown() const { return unknown_; }  // events passed over
  std::string Where() const;                    // "file:line", of the last line

 private:
  explicit EventReader(std::unique_ptr<MappedFile> file);
  std::optional<std::string_view> NextLine();

  const std::unique_ptr<MappedFile> file_;
  std::string_view rest_;
  int64_t line_ = 0;
  RunHeader header_;
  bool cut_ = false, finished_ = false;
  int64_t unknown_ = 0;
};

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_REPORT_EVENT_LOG_H_
