#include "simulations/mpi/alike.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/mapped_file.h"
#include "base/status.h"
#include "privacy/crypto/hash.h"

namespace edgetune {
namespace {

absl::Status Differs(const std::string& where, std::string_view what,
                     ErrorKind kind, std::string_view hint) {
  return Annotate(
      absl::FailedPreconditionError(fmt::format("{} {}", where, what)), kind,
      hint);
}

}  // namespace

absl::Status CheckAlike(const Hello& own, const Hello& other, int rank) {
  const std::string where = fmt::format("rank {} on {}", rank, other.host);
  if (other.program != own.program) {
    return Differs(where, "runs another build of edgetune than rank 0",
                   ErrorKind::kFailed, "install one build on all machines");
  }
  if (!other.ready.ok()) return Prefix(other.ready, where);
  if (other.base != own.base) {
    return Differs(where, "has another base model than rank 0 under that name",
                   ErrorKind::kModel,
                   "edgetune model fetch or import the same one on all "
                   "machines; edgetune model verify compares");
  }
  if (other.plan != own.plan) {
    return Differs(where, "reads another run file than rank 0",
                   ErrorKind::kConfig,
                   "the same run file and --set for all ranks: on a file "
                   "system that all see, or copied again");
  }
  if (other.engine != own.engine || other.bf16 != own.bf16) {
    return Differs(where,
                   fmt::format("would train with {}{}, rank 0 with {}{}",
                               other.engine, other.bf16 ? " in bf16" : "",
                               own.engine, own.bf16 ? " in bf16" : ""),
                   ErrorKind::kConfig, "state it: --set model.precision=fp32");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ProgramDigest() {
  EDGETUNE_ASSIGN_OR_RETURN(const auto file,
                            MappedFile::Open("/proc/self/exe"));
  const Digest digest = Sha256(file->bytes());
  return std::string(digest.begin(), digest.end());
}

std::string ProcessorIn(std::string_view cpuinfo) {
  constexpr std::string_view kName = "model name";
  const size_t at = cpuinfo.find(kName);
  if (at == cpuinfo.npos) return "";
  std::string_view line = cpuinfo.substr(at + kName.size());
  line = line.substr(0, line.find('\n'));
  const size_t begin = line.find_first_not_of(" \t:");
  return begin == line.npos ? "" : std::string(line.substr(begin));
}

std::string ProcessorName() {
  std::ostringstream text;
  text << std::ifstream("/proc/cpuinfo").rdbuf();
  return ProcessorIn(text.str());
}

size_t WorkersBeside(int neighbours) {
  const size_t share = std::thread::hardware_concurrency() /
                       static_cast<size_t>(std::max(1, neighbours));
  cpu_set_t mine;
  const size_t allowed = sched_getaffinity(0, sizeof mine, &mine) == 0
                             ? static_cast<size_t>(CPU_COUNT(&mine))
                             : share;
  return std::max<size_t>(1, std::min(share, allowed));
}

}  // namespace edgetune
