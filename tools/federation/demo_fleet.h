#ifndef EDGETUNE_TOOLS_FEDERATION_DEMO_FLEET_H_
#define EDGETUNE_TOOLS_FEDERATION_DEMO_FLEET_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tools/child_process.h"
#include "tools/data/wordnet.h"

namespace edgetune {

// One coordinator and its clients as real processes on loopback, with kits of
// their own, below one directory. Life: Provision, StartServer, StartClients,
// CheckAlive..., Stop. Destroyed, every process is stopped. One thread.
class DemoFleet {
 public:
  // The programs are taken from this program's own directory.
  DemoFleet(std::string directory, std::vector<WordNetFile> data);

  absl::Status Provision();
  // Returns once it listens; address() is then known. kFailed.
  absl::Status StartServer();
  absl::Status StartClients(const std::string& population);
  // Aborted naming the process that has ended, while all should run.
  absl::Status CheckAlive();
  // SIGTERM to all, clients first; waits, and kills what does not end.
  void Stop();

  const std::string& address() const { return address_; }
  std::string operator_kit() const { return directory_ + "/kits/operator"; }
  // Where the client of this device keeps what it must not forget.
  std::string StateOf(const std::string& device) const;
  int64_t threads_a_client() const { return threads_; }
  // Largest peak of resident memory of a client; known after Stop.
  int64_t client_peak_rss_bytes() const { return client_peak_rss_; }
  // The last lines of every log, for a report of failure.
  std::string LogTails() const;
  std::string log_directory() const { return directory_ + "/logs"; }
  // Deletes all but the logs and configuration files.
  void KeepLogsOnly();

 private:
  struct Process {
    std::string name;
    std::string log;
    std::unique_ptr<ChildProcess> child;
  };
  absl::StatusOr<Process> Start(const std::string& name,
                                std::vector<std::string> arguments);
  absl::StatusOr<int> WaitForPort(Process& server, const std::string& file);

  const std::string directory_;
  const std::vector<WordNetFile> data_;
  const int64_t threads_;
  std::string address_;
  std::vector<Process> processes_;  // the server first
  int64_t client_peak_rss_ = 0;
};

// A topic as a device id: "noun.Tops" -> "noun.tops".
std::string DeviceIdOf(const std::string& topic);
// A TOML basic string.
std::string TomlString(const std::string& text);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_FEDERATION_DEMO_FLEET_H_
