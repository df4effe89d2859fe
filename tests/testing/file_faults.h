#ifndef EDGETUNE_TESTS_TESTING_FILE_FAULTS_H_
#define EDGETUNE_TESTS_TESTING_FILE_FAULTS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace edgetune::testing {

// What befalls the files below one directory, in this process: every call that
// changes one is counted, and a chosen one fails, or is the last thing that a
// killed process did. A program that links this gets these functions in place
// of the C library's (write, pwrite, fsync, fdatasync, rename, unlink,
// ftruncate, fchmod, open that creates, mkostemp), so both SQLite and BlobStore
// run over them as they are. Syncs are not passed on: no power fails here.
//
// Life: construct, which begins to count; destroy. One at a time. Any thread
// may call the functions; methods belong to one.
class FileFaults {
 public:
  enum class Kind {
    kCount,      // nothing happens
    kKill,       // before the call
    kKillTorn,   // in its middle: half of a write reaches the file
    kKillAfter,  // after it, before anything else
    kError,      // the call fails with `error`
    kErrorFrom,  // it and all later ones do: a disk stays full
    kShort,      // a write takes half of its bytes and says so
    kErrorTorn,  // a write takes half of its bytes and then fails
  };
  struct Plan {
    std::string directory;  // there, and as the kernel names it
    Kind kind = Kind::kCount;
    int64_t at = -1;  // from 0
    int error = 0;
    // Only calls of these names count; empty: all.
    std::vector<std::string> calls = {};
  };

  explicit FileFaults(const Plan& plan);
  ~FileFaults();
  FileFaults(const FileFaults&) = delete;
  FileFaults& operator=(const FileFaults&) = delete;

  int64_t count() const;
  // The call `at` has come.
  bool struck() const;
  // A kill has happened: nothing reaches the disk any more, and what the
  // process does is not to be looked at.
  bool killed() const;
  // "pwrite64 state.db-wal", in order.
  std::vector<std::string> calls() const;
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_TESTING_FILE_FAULTS_H_
