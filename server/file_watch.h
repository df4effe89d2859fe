#ifndef EDGETUNE_SERVER_FILE_WATCH_H_
#define EDGETUNE_SERVER_FILE_WATCH_H_

#include <sys/stat.h>

#include <optional>
#include <string>
#include <utility>

namespace edgetune {

// Tells when a file became another one: replaced, written to, made or removed.
// Asks the file system each time; the daemons ask once a second. One thread.
class FileWatch {
 public:
  explicit FileWatch(std::string path) : path_(std::move(path)) {}

  // True the first time, then whenever the file differs from what the call
  // before saw.
  bool Changed() {
    struct stat info = {};
    std::optional<Mark> now = Mark();  // of a file that is not there
    if (stat(path_.c_str(), &info) == 0) {
      now = {info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec,
             info.st_mtim.tv_nsec};
    }
    return std::exchange(seen_, now) != now;
  }
  // The next Changed says true: what it told of could not be handled.
  void Forget() { seen_.reset(); }
  const std::string& path() const { return path_; }

 private:
  struct Mark {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    time_t seconds = 0;
    long nanoseconds = 0;
    bool operator==(const Mark&) const = default;
  };

  const std::string path_;
  std::optional<Mark> seen_;
};

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_FILE_WATCH_H_
