#ifndef EDGETUNE_CONFIG_DAEMON_FILES_H_
#define EDGETUNE_CONFIG_DAEMON_FILES_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace edgetune {

// server.toml. Relative paths are relative to the file.
struct ServerFile {
  std::string listen = "0.0.0.0:7443";
  std::string kit;
  std::string state;
  std::string deny;    // file of device ids, one a line; empty: none
  std::string roster;  // file that the enrolment authority publishes; empty:
                       // <kit>/roster.pb
  std::string log = "info";
};

// enroll.toml. Relative paths are relative to the file.
struct EnrollFile {
  std::string listen = "0.0.0.0:7444";
  std::string kit;      // the enrolment kit
  std::string state;    // directory of what was decided
  std::string publish;  // file to which each roster is copied; empty: none
  int64_t failures_per_minute = 10;  // of one address
  std::string log = "info";
};

// A daily window in local time; start may be later than end (over midnight).
struct DailyWindow {
  int start_minute = 0;  // of the day, [0, 1440)
  int end_minute = 0;
};
// "22:00-06:00". InvalidArgument.
absl::StatusOr<DailyWindow> ParseDailyWindow(const std::string& text);

// client.toml. Relative paths are relative to the file.
struct ClientFile {
  std::string server;  // empty: the kit's address
  std::string enroll;  // of the enrolment service; empty: the kit's
  std::string kit;
  std::string state;
  std::string cache;  // of models; empty: <state>/cache
  std::string population = "default";
  struct Data {
    std::string train;
    std::string heldout;  // empty: a share of `train`
    std::string name;     // empty: stem of `train`
  } data;
  struct Train {
    std::string engine = "auto";
    int64_t threads = 0;  // 0: all cores
    // Of work, between two saves of a training under way; 0: never.
    absl::Duration checkpoint_every = absl::Minutes(1);
    // Bytes that this device spends on training at most, whatever the plan
    // says; 0: what the plan says.
    uint64_t memory_budget = 0;
    int64_t rank = 0;  // largest that this device trains; 0: any
    // A model of its own, GGUF file or directory, that plans with
    // train.teacher_alpha learn from besides; "": none.
    std::string teacher;
  } train;
  struct Policy {
    std::optional<DailyWindow> window;  // none: always
    // Smallest masked cohort that this device joins; 0: what the plan says. Set
    // above 1 it also refuses plans that do not mask.
    int64_t min_cohort = 0;
  } policy;
  std::string log = "info";
};

// InvalidArgument (kConfig) with file:line:column, "did you mean" for unknown
// keys, and which required key is missing.
absl::StatusOr<ServerFile> ReadServerFile(const std::string& path);
absl::StatusOr<EnrollFile> ReadEnrollFile(const std::string& path);
absl::StatusOr<ClientFile> ReadClientFile(const std::string& path);

}  // namespace edgetune

#endif  // EDGETUNE_CONFIG_DAEMON_FILES_H_
