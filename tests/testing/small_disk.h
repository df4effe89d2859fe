#ifndef EDGETUNE_TESTS_TESTING_SMALL_DISK_H_
#define EDGETUNE_TESTS_TESTING_SMALL_DISK_H_

#include <signal.h>
#include <sys/resource.h>

namespace edgetune::testing {

// While one lives, no file of this process grows beyond `bytes`: a full disk,
// in effect (EFBIG for ENOSPC).
class SmallDisk {
 public:
  explicit SmallDisk(rlim_t bytes) {
    previous_ = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &saved_);
    rlimit limit = saved_;
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~SmallDisk() {
    setrlimit(RLIMIT_FSIZE, &saved_);
    signal(SIGXFSZ, previous_);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

 private:
  rlimit saved_;
  sighandler_t previous_;
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_TESTING_SMALL_DISK_H_
