#include "server/access_files.h"

#include <fmt/format.h>

#include <memory>
#include <sstream>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/log.h"
#include "base/status.h"
#include "privacy/identity/roster_file.h"
#include "server/run_rows.h"

namespace edgetune {
namespace {

// Blank lines and lines that begin with '#' are not ids.
std::vector<std::string> IdsOf(const std::string& text) {
  std::vector<std::string> ids;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const size_t begin = line.find_first_not_of(" \t\r");
    if (begin == std::string::npos || line[begin] == '#') continue;
    const size_t end = line.find_last_not_of(" \t\r");
    ids.push_back(line.substr(begin, end - begin + 1));
  }
  return ids;
}

void LogIfFailed(const char* what, const absl::Status& status) {
  if (status.ok()) return;
  LogError(fmt::format("the {} stays as it was: {}", what,
                       std::string(status.message())));
}

}  // namespace

AccessFiles::AccessFiles(Dependencies dependencies)
    : deps_(std::move(dependencies)),
      roster_(deps_.roster),
      deny_(deps_.deny) {}

absl::Status AccessFiles::Load(Coordinator& coordinator) {
  roster_.Changed();
  deny_.Changed();
  EDGETUNE_RETURN_IF_ERROR(LoadRoster(coordinator));
  return LoadDenied(coordinator);
}

void AccessFiles::Poll(Coordinator& coordinator, bool force) {
  if (roster_.Changed() || force) {
    LogIfFailed("roster", LoadRoster(coordinator));
  }
  if (deny_.Changed() || force) {
    LogIfFailed("deny list", LoadDenied(coordinator));
  }
}

absl::Status AccessFiles::LoadRoster(Coordinator& coordinator) {
  auto bytes = ReadFile(roster_.path());
  if (!bytes.ok()) {
    return Annotate(bytes.status(), ErrorKind::kIdentity,
                    "it is roster.pb of the server's kit, or the file that "
                    "enrolment publishes");
  }
  auto roster = ParseRosterFile(*bytes, deps_.trusted, deps_.clock->Now());
  absl::Status accepted = roster.status();
  if (roster.ok()) accepted = Remember(roster->envelope);
  if (!accepted.ok()) return Prefix(accepted, roster_.path());
  LogInfo(fmt::format("roster: version {}, {} devices", roster->head.version(),
                      roster->head.leaf_count()));
  coordinator.SetRoster(
      std::make_shared<const PublishedRoster>(*std::move(roster)));
  return absl::OkStatus();
}

// Whether nothing newer was acted upon; if so the mark is durable now.
absl::Status AccessFiles::Remember(const v1::Envelope& head) {
  absl::Status accepted;
  const absl::Status stored =
      deps_.database->Run([&](Transaction& transaction) -> absl::Status {
        EDGETUNE_ASSIGN_OR_RETURN(const RosterGuard::Mark mark,
                                  LoadRosterMark(transaction));
        RosterGuard guard(mark);
        accepted =
            guard.Accept(head, deps_.trusted, deps_.clock->Now()).status();
        if (!accepted.ok()) return absl::OkStatus();
        return SaveRosterMark(guard.mark(), transaction);
      });
  if (stored.ok()) return accepted;
  deps_.fatal(Prefix(stored, "remembering the roster"));
  return stored;
}

absl::Status AccessFiles::LoadDenied(Coordinator& coordinator) {
  if (deny_.path().empty()) return absl::OkStatus();
  const auto text = ReadFile(deny_.path());
  if (!text.ok()) return Annotate(text.status(), ErrorKind::kConfig);
  std::vector<std::string> ids = IdsOf(*text);
  LogInfo(fmt::format("deny list: {} devices", ids.size()));
  coordinator.SetDenied(std::move(ids));
  return absl::OkStatus();
}

}  // namespace edgetune
