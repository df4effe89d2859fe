#include "bench/secagg_session.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"
#include "bench/timing.h"
#include "privacy/crypto/secret.h"
#include "privacy/crypto/secure_random.h"
#include "privacy/crypto/signature.h"
#include "privacy/identity/roster.h"
#include "privacy/secagg/client.h"
#include "privacy/secagg/encoding.h"
#include "privacy/secagg/masked_vector.h"
#include "privacy/secagg/member.h"
#include "privacy/secagg/server.h"
#include "protos/masking.h"

namespace edgetune::secagg {
namespace {

constexpr size_t kCoordinates = 16;

// Adds what `work` takes to `seconds`; its result.
template <typename Work>
auto Charged(double& seconds, const Work& work) {
  const double start = bench::ThreadSeconds();
  auto result = work();
  seconds += bench::ThreadSeconds() - start;
  return result;
}

// Devices ascending by client id, with their roster.
struct Devices {
  explicit Devices(uint32_t n) {
    std::vector<v1::RosterEntry> entries(n);
    for (uint32_t i = 0; i < n; ++i) {
      entries[i].set_name("device-" + std::to_string(i));
      const ClientId id = ClientIdOf(entries[i].name());
      entries[i].set_client_id(id.data(), id.size());
    }
    std::ranges::sort(entries, {}, &v1::RosterEntry::client_id);
    for (v1::RosterEntry& entry : entries) {
      keys.push_back(SigningKey::Generate().value());
      entry.set_identity_key(keys.back().public_key().raw());
      entry.set_enrolled_ms(1'700'000'000'000);
      entry.set_status(v1::RosterEntry::ACTIVE);
    }
    roster.emplace(Roster::Make(std::move(entries)).value());
  }

  std::vector<SigningKey> keys;
  std::optional<Roster> roster;
};

// Joins server and clients by a queue. Life: make, Run.
class Session {
 public:
  Session(uint32_t clients, uint32_t lost)
      : n_(clients), survivors_(clients - lost), devices_(clients) {
    shape_.n_max = clients;
    shape_.bound = 0.25;
    shape_.coordinates = kCoordinates;
    sum_.emplace(shape_);
  }

  SessionCost Run() {
    std::vector<v1::CohortEntry> cohort;
    for (uint32_t i = 0; i < n_; ++i) cohort.push_back(Advertise(i));
    SecAggServer::Actions actions;
    server_.emplace(Charged(cost_.server_s, [&] {
                      return SecAggServer::Begin(ServerOptions(), cohort,
                                                 actions);
                    }).value());
    Perform(std::move(actions));
    while (!queue_.empty()) {
      const auto step = std::move(queue_.front());
      queue_.pop_front();
      step();
    }
    EDGETUNE_CHECK(server_->phase() == SecAggServer::Phase::kDone);
    return cost_;
  }

 private:
  SecAggServer::Options ServerOptions() const {
    const absl::Time late = absl::FromUnixSeconds(1000);
    return {.manifest = manifest_,
            .shape = shape_,
            .deadlines = {late, late, late, late, late},
            .round_key = &round_key_};
  }

  v1::CohortEntry Advertise(uint32_t i) {
    const RosterMember member = devices_.roster->Member(i);
    clients_.emplace_back(
        SecAggClient::Options{.manifest = manifest_,
                              .id = member.id,
                              .identity = &devices_.keys[i],
                              .coordinator = {round_key_.public_key()},
                              .roster = {devices_.roster->root(), n_},
                              .shape = shape_,
                              .random = &random_});
    const std::vector<float> zeros(kCoordinates);
    RingVector input =
        Quantize(shape_, {.coordinates = zeros}, CanaryOf(manifest_), random_)
            .value();
    SecAggClient::Actions actions =
        Charged(Of(i), [&] { return clients_[i].Start(std::move(input)); });
    const v1::SecAggClientMessage& message = actions.at(0).message;
    if (i == 0) cost_.up_bytes += message.ByteSizeLong();
    return Charged(cost_.server_s,
                   [&] {
                     return CheckAdvertisement(manifest_, member,
                                               devices_.roster->Prove(i),
                                               message.advertise());
                   })
        .value();
  }

  // Whose time is counted: the first client's.
  double& Of(uint32_t i) { return i == 0 ? cost_.client_s : ignored_; }

  void Perform(SecAggServer::Actions actions) {
    for (SecAggServer::Action& action : actions) {
      using Kind = SecAggServer::Action::Kind;
      if (action.kind == Kind::kSend) {
        queue_.push_back([this, i = action.index, message = action.message] {
          if (i == 0) cost_.down_bytes += message->ByteSizeLong();
          Perform(i,
                  Charged(Of(i), [&] { return clients_[i].Handle(*message); }));
        });
      } else if (action.kind == Kind::kUnmask) {
        const auto sums = sum_->Unmask(action.masks, CanaryOf(manifest_), 1);
        EDGETUNE_CHECK(sums.ok() && sum_->count() == survivors_ &&
                       *sums == std::vector<int64_t>(kCoordinates));
        queue_.push_back([this] { Perform(server_->Finished()); });
      } else {
        EDGETUNE_CHECK(action.kind == Kind::kRecord ||
                       action.kind == Kind::kFold);
      }
    }
  }

  void Perform(uint32_t i, SecAggClient::Actions actions) {
    for (SecAggClient::Action& action : actions) {
      using Kind = SecAggClient::Action::Kind;
      if (action.kind == Kind::kSend) {
        if (i == 0) cost_.up_bytes += action.message.ByteSizeLong();
        queue_.push_back([this, i, message = std::move(action.message)] {
          Perform(Charged(cost_.server_s,
                          [&] { return server_->Handle(i, message, now_); }));
        });
      } else if (action.kind == Kind::kUpload && i >= survivors_) {
        queue_.push_back([this, i] { Perform(server_->Lost(i, now_)); });
        return;
      } else if (action.kind == Kind::kUpload) {
        EDGETUNE_CHECK(sum_->Add(ByteSpan(action.masked)).ok());
        Perform(i, Charged(Of(i), [&] { return clients_[i].Uploaded(); }));
      } else {
        EDGETUNE_CHECK(action.kind == Kind::kSpend ||
                       action.kind == Kind::kRemember);
      }
    }
  }

  const uint32_t n_;
  const uint32_t survivors_;
  const absl::Time now_ = absl::FromUnixSeconds(1);
  const Digest manifest_ = Sha256(std::string_view("manifest"));
  const SigningKey round_key_ = SigningKey::Generate().value();
  SystemRandom random_;
  Devices devices_;
  MaskedShape shape_;
  std::vector<SecAggClient> clients_;
  std::optional<SecAggServer> server_;
  std::optional<MaskedSum> sum_;
  std::deque<std::function<void()>> queue_;
  SessionCost cost_;
  double ignored_ = 0;
};

}  // namespace

SessionCost RunSession(uint32_t clients, uint32_t lost) {
  return Session(clients, lost).Run();
}

}  // namespace edgetune::secagg
