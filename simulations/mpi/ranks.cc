#include "simulations/mpi/ranks.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/time/clock.h"
#include "base/status.h"
#include "base/units.h"
#include "simulations/mpi/alike.h"

namespace edgetune {
namespace {

constexpr absl::Duration kLongestBeat = absl::Seconds(1);
// Whoever did not run for so long itself knows nothing of the others' silence.
constexpr absl::Duration kOwnPause = absl::Seconds(5);
constexpr std::chrono::milliseconds kTick(20);

// Bit for bit: 0 and -0 are two.
bool Same(const ParameterVector& a, const ParameterVector& b) {
  return a.size() == b.size() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::string Text(absl::Duration time) {
  return FormatSeconds(absl::ToDoubleSeconds(time));
}

}  // namespace

Ranks::Ranks(Options options)
    : options_(options),
      beat_(std::min(kLongestBeat, options.silence / 10)),
      ranks_(static_cast<size_t>(options.post->size())),
      begun_(absl::Now()),
      beaten_(begun_),
      watched_(begun_) {
  thread_ = std::thread([this] { Loop(); });
}

Ranks::~Ranks() { End().IgnoreError(); }

void Ranks::Loop() {
  while (true) {
    outbox_.Flush(*options_.post);
    while (const auto letter = options_.post->Receive()) Handle(*letter);
    {
      const std::lock_guard<std::mutex> lock(mu_);
      Watch(absl::Now());
      if (ending_ && AllGone()) return;
    }
    outbox_.Wait(*options_.post);
  }
}

void Ranks::Handle(const Post::Letter& letter) {
  const auto kind = LetterKindOf(letter.bytes);
  const std::lock_guard<std::mutex> lock(mu_);
  Rank& rank = ranks_[static_cast<size_t>(letter.from)];
  rank.heard = absl::Now();
  if (kind.ok() && *kind == LetterKind::kBeat) return;
  changed_.notify_all();
  if (kind.ok() && *kind == LetterKind::kBye) {
    rank.said_bye = true;
  } else if (kind.ok() && *kind == LetterKind::kHello) {
    const auto hello = ParseHello(letter.bytes);
    if (!hello.ok())
      return Lose(letter.from, "its greeting is that of another build");
    rank.hello = *hello;
  } else {
    auto answer = ParseAnswer(letter.bytes);
    if (!answer.ok()) return Lose(letter.from, "its answer is none");
    const auto waiting = waiting_.find(answer->id);
    if (waiting == waiting_.end()) return;
    waiting->second->answer = *std::move(answer);
    waiting_.erase(waiting);
  }
}

void Ranks::Beat(absl::Time now) {
  beaten_ = now;
  for (size_t i = 1; i < ranks_.size(); ++i) {
    if (ranks_[i].lost) continue;
    outbox_.Push(static_cast<int>(i), MakeLetter(LetterKind::kBeat));
  }
}

void Ranks::Watch(absl::Time now) {
  if (*options_.interrupted && interrupted_at_ == absl::InfiniteFuture()) {
    stop_ = true;
    interrupted_at_ = now;
    Beat(now);
    changed_.notify_all();
  }
  if (now - beaten_ >= beat_) Beat(now);
  const bool paused = now - watched_ > kOwnPause;
  watched_ = now;
  const std::string fault = options_.post->fault();
  for (size_t i = 1; i < ranks_.size(); ++i) {
    Rank& rank = ranks_[i];
    if (paused) rank.heard = now;
    const std::string why = fault.empty() ? Silent(rank, now) : fault;
    if (!rank.lost && !rank.said_bye && !why.empty()) {
      Lose(static_cast<int>(i), why);
    }
  }
}

// Too long, and how; "": no.
std::string Ranks::Silent(const Rank& rank, absl::Time now) const {
  if (!rank.hello.has_value()) {
    if (now - begun_ <= options_.first_word) return "";
    return fmt::format("it has not begun after {}", Text(now - begun_));
  }
  if (now - rank.heard > options_.silence) {
    return fmt::format("no sign of life for {}", Text(now - rank.heard));
  }
  if (rank.heard < interrupted_at_ &&
      now > interrupted_at_ + options_.reaction) {
    return fmt::format("all were told to stop, and it did not react within {}",
                       Text(options_.reaction));
  }
  return "";
}

void Ranks::Lose(int number, const std::string& why) {
  Rank& rank = ranks_[static_cast<size_t>(number)];
  rank.lost = true;
  if (status_.ok()) {
    status_ = Annotate(
        absl::UnavailableError(fmt::format(
            "rank {}{} is lost: {}", number,
            rank.hello.has_value() ? " on " + rank.hello->host : "", why)),
        ErrorKind::kFailed,
        "what mpirun or srun says of it tells how it ended (signal 9: often "
        "too "
        "little memory, take fewer --workers); then start the run again");
  }
  // First of all, so that nobody takes the errors for a device's.
  stop_ = true;
  std::erase_if(waiting_, [&](const auto& entry) {
    if (entry.second->rank != number) return false;
    entry.second->answer = status_;
    return true;
  });
  changed_.notify_all();
}

bool Ranks::AllGone() const {
  return std::all_of(ranks_.begin() + 1, ranks_.end(), [](const Rank& rank) {
    return rank.lost || rank.said_bye;
  });
}

bool Ranks::AllSaidHello() const {
  return std::all_of(ranks_.begin() + 1, ranks_.end(),
                     [](const Rank& rank) { return rank.hello.has_value(); });
}

absl::Status Ranks::Gather(const Hello& own) {
  std::unique_lock<std::mutex> lock(mu_);
  changed_.wait(lock, [this] { return stop_ || AllSaidHello(); });
  EDGETUNE_RETURN_IF_ERROR(status_);
  if (stop_) return absl::CancelledError("the simulation was stopped");
  for (size_t i = 1; i < ranks_.size(); ++i) {
    others_.push_back(*ranks_[i].hello);
    EDGETUNE_RETURN_IF_ERROR(
        CheckAlike(own, others_.back(), static_cast<int>(i)));
  }
  return absl::OkStatus();
}

absl::StatusOr<Answer> Ranks::Do(int number, Call call,
                                 const ParameterVector& adapter,
                                 const StopToken& stop) {
  Waiting waiting{.rank = number};
  std::unique_lock<std::mutex> lock(mu_);
  Rank& rank = ranks_[static_cast<size_t>(number)];
  if (rank.lost) return status_;
  call.id = next_id_++;
  call.same_adapter = Same(rank.adapter, adapter);
  if (!call.same_adapter) call.adapter = rank.adapter = adapter;
  waiting_[call.id] = &waiting;
  outbox_.Push(number, FormatCall(call));
  bool told = false;
  while (!waiting.answer.has_value()) {
    if (stop && !std::exchange(told, true)) {
      outbox_.Push(number, FormatStop(call.id));
    }
    changed_.wait_for(lock, kTick);
  }
  return *std::move(waiting.answer);
}

absl::Status Ranks::End() {
  {
    const std::lock_guard<std::mutex> lock(mu_);
    const LetterKind last = stop_ ? LetterKind::kQuit : LetterKind::kEnd;
    in_order_ = !ending_ ? !stop_ : in_order_;
    for (size_t i = 1; !ending_ && i < ranks_.size(); ++i) {
      if (ranks_[i].lost) continue;
      outbox_.Push(static_cast<int>(i), MakeLetter(last));
    }
    ending_ = true;
  }
  if (!thread_.joinable()) return status_;
  thread_.join();
  if (in_order_ && status_.ok()) options_.post->Leave();
  return status_;
}

}  // namespace edgetune
