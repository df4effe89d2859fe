#include "tests/testing/file_faults.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdlib>
#include <filesystem>
#include <mutex>

namespace edgetune::testing {
namespace {

using Kind = FileFaults::Kind;

// What a call is to do.
enum class Verdict { kPass, kFail, kHalf, kHalfThenFail };

struct State {
  std::mutex mu;
  FileFaults::Plan plan;
  std::vector<std::string> calls;
  bool struck = false;
  bool killed = false;
};

std::atomic<bool> armed{false};

State& TheState() {
  static State state;
  return state;
}

std::string PathOf(int fd) {
  char path[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t n = readlink(link.c_str(), path, sizeof path);
  return n <= 0 ? std::string() : std::string(path, static_cast<size_t>(n));
}

bool Counts(const FileFaults::Plan& plan, const char* call,
            const std::string& path) {
  return path.starts_with(plan.directory + "/") &&
         (plan.calls.empty() || std::find(plan.calls.begin(), plan.calls.end(),
                                          call) != plan.calls.end());
}

Verdict Fail(int error) {
  errno = error;
  return Verdict::kFail;
}

// The verdict on one call; `errno` is set where it is to fail. After a kill
// nothing below the directory changes any more, counted or not.
Verdict Judge(const char* call, const std::string& path) {
  State& state = TheState();
  std::lock_guard<std::mutex> lock(state.mu);
  if (!armed || !path.starts_with(state.plan.directory + "/")) {
    return Verdict::kPass;
  }
  if (state.killed) return Fail(EIO);
  if (!Counts(state.plan, call, path)) return Verdict::kPass;
  const auto number = static_cast<int64_t>(state.calls.size());
  state.calls.push_back(std::string(call) + " " +
                        path.substr(path.rfind('/') + 1));
  const bool now = number == state.plan.at;
  const bool later = state.plan.at >= 0 && number > state.plan.at;
  if (later && state.plan.kind == Kind::kErrorFrom) {
    return Fail(state.plan.error);
  }
  if (!now) return Verdict::kPass;
  state.struck = true;
  switch (state.plan.kind) {
    case Kind::kCount:
      return Verdict::kPass;
    case Kind::kKill:
      state.killed = true;
      return Fail(EIO);
    case Kind::kKillTorn:
      state.killed = true;
      errno = EIO;
      return Verdict::kHalfThenFail;
    case Kind::kKillAfter:
      state.killed = true;
      return Verdict::kPass;
    case Kind::kError:
    case Kind::kErrorFrom:
      return Fail(state.plan.error);
    case Kind::kShort:
      return Verdict::kHalf;
    case Kind::kErrorTorn:
      errno = state.plan.error;
      return Verdict::kHalfThenFail;
  }
  return Verdict::kPass;
}

Verdict JudgeFile(const char* call, int fd) {
  if (!armed) return Verdict::kPass;
  const int before = errno;
  const std::string path = PathOf(fd);
  errno = before;
  return Judge(call, path);
}

Verdict JudgePath(const char* call, const char* path) {
  return armed ? Judge(call, path) : Verdict::kPass;
}

template <typename Function>
Function* Real(Function*, const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

// A write of `size` bytes through `real`.
template <typename Write>
ssize_t WriteAs(Verdict verdict, size_t size, const Write& real) {
  if (verdict == Verdict::kPass) return real(size);
  if (verdict == Verdict::kFail) return -1;
  const int error = errno;
  const ssize_t done = size < 2 ? 0 : real(size / 2);
  if (verdict == Verdict::kHalf && size >= 2) return done;
  if (verdict == Verdict::kHalf) return real(size);
  errno = error;
  return -1;
}

}  // namespace

FileFaults::FileFaults(const Plan& plan) {
  State& state = TheState();
  std::lock_guard<std::mutex> lock(state.mu);
  if (armed) abort();  // a mistake of the test
  // Files are known by the kernel's names for them, which a "//" is not in.
  if (std::filesystem::canonical(plan.directory) != plan.directory) abort();
  state.plan = plan;
  state.calls.clear();
  state.struck = state.killed = false;
  armed = true;
}

FileFaults::~FileFaults() { armed = false; }

int64_t FileFaults::count() const {
  std::lock_guard<std::mutex> lock(TheState().mu);
  return static_cast<int64_t>(TheState().calls.size());
}

bool FileFaults::struck() const {
  std::lock_guard<std::mutex> lock(TheState().mu);
  return TheState().struck;
}

bool FileFaults::killed() const {
  std::lock_guard<std::mutex> lock(TheState().mu);
  return TheState().killed;
}

std::vector<std::string> FileFaults::calls() const {
  std::lock_guard<std::mutex> lock(TheState().mu);
  return TheState().calls;
}

}  // namespace edgetune::testing

// --- in place of the C library's

using edgetune::testing::JudgeFile;
using edgetune::testing::JudgePath;
using edgetune::testing::Real;
using edgetune::testing::Verdict;
using edgetune::testing::WriteAs;

namespace {

bool Passes(Verdict verdict) {
  return verdict == Verdict::kPass || verdict == Verdict::kHalf;
}

int OpenAs(const char* name, const char* path, int flags, mode_t mode) {
  static auto* const real =
      Real(static_cast<int (*)(const char*, int, ...)>(nullptr), "open");
  const bool creates = (flags & (O_CREAT | O_TRUNC)) != 0;
  if (creates && !Passes(JudgePath(name, path))) return -1;
  return real(path, flags, mode);
}

mode_t ModeOf(int flags, va_list arguments) {
  return (flags & (O_CREAT | __O_TMPFILE)) != 0
             ? static_cast<mode_t>(va_arg(arguments, int))
             : 0;
}

}  // namespace

// Libraries that are linked dynamically must see them too.
#pragma GCC visibility push(default)
extern "C" {

int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return OpenAs("open", path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = ModeOf(flags, arguments);
  va_end(arguments);
  return OpenAs("open", path, flags | O_LARGEFILE, mode);
}

int mkostemp(char* path, int flags) {
  static auto* const real = Real(mkostemp, "mkostemp");
  return Passes(JudgePath("mkostemp", path)) ? real(path, flags) : -1;
}

ssize_t write(int fd, const void* bytes, size_t size) {
  static auto* const real = Real(write, "write");
  return WriteAs(JudgeFile("write", fd), size,
                 [&](size_t n) { return real(fd, bytes, n); });
}

ssize_t pwrite(int fd, const void* bytes, size_t size, off_t at) {
  static auto* const real = Real(pwrite, "pwrite");
  return WriteAs(JudgeFile("pwrite", fd), size,
                 [&](size_t n) { return real(fd, bytes, n, at); });
}

ssize_t pwrite64(int fd, const void* bytes, size_t size, off64_t at) {
  static auto* const real = Real(pwrite64, "pwrite64");
  return WriteAs(JudgeFile("pwrite", fd), size,
                 [&](size_t n) { return real(fd, bytes, n, at); });
}

int fsync(int fd) {
  static auto* const real = Real(fsync, "fsync");
  if (!edgetune::testing::armed) return real(fd);
  return Passes(JudgeFile("fsync", fd)) ? 0 : -1;
}

int fdatasync(int fd) {
  static auto* const real = Real(fdatasync, "fdatasync");
  if (!edgetune::testing::armed) return real(fd);
  return Passes(JudgeFile("fsync", fd)) ? 0 : -1;
}

int rename(const char* from, const char* to) noexcept {
  static auto* const real = Real(rename, "rename");
  return Passes(JudgePath("rename", to)) ? real(from, to) : -1;
}

int unlink(const char* path) noexcept {
  static auto* const real = Real(unlink, "unlink");
  return Passes(JudgePath("unlink", path)) ? real(path) : -1;
}

int ftruncate(int fd, off_t size) noexcept {
  static auto* const real = Real(ftruncate, "ftruncate");
  return Passes(JudgeFile("ftruncate", fd)) ? real(fd, size) : -1;
}

int ftruncate64(int fd, off64_t size) noexcept {
  static auto* const real = Real(ftruncate64, "ftruncate64");
  return Passes(JudgeFile("ftruncate", fd)) ? real(fd, size) : -1;
}

int fchmod(int fd, mode_t mode) noexcept {
  static auto* const real = Real(fchmod, "fchmod");
  return Passes(JudgeFile("fchmod", fd)) ? real(fd, mode) : -1;
}

}  // extern "C"
#pragma GCC visibility pop
