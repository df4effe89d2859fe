#ifndef EDGETUNE_TESTS_FUZZ_SCENE_H_
#define EDGETUNE_TESTS_FUZZ_SCENE_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "privacy/secagg/client.h"
#include "privacy/secagg/server.h"
#include "tests/privacy_secagg/fleet.h"
#include "tests/privacy_secagg/harness.h"

namespace edgetune::fuzz {

// An honest masking session and all that was said in it, from which parties in
// any phase are made. Member kDropped deals its shares and uploads nothing.
// Immutable once made.
class Scene {
 public:
  using Record = secagg::SecAggServer::Record;

  // With this many members. Made once.
  static const Scene& Five();
  static const Scene& Ten();

  static constexpr uint32_t kDropped = 3;
  // A message is told to or by this member unless a target says otherwise.
  static constexpr uint32_t kVictim = 1;

  const secagg::Fleet& fleet() const { return fleet_; }
  const MaskedShape& shape() const { return options_.shape; }
  const Digest& manifest() const { return manifest_; }
  const std::vector<v1::CohortEntry>& cohort() const { return cohort_; }
  const std::vector<Record>& records() const { return records_; }
  const std::map<std::string, std::string>& blobs() const { return blobs_; }
  const std::vector<int64_t>& sum() const { return sum_; }
  uint32_t size() const { return options_.n; }
  static absl::Time Now() { return absl::FromUnixSeconds(1'000'000); }

  secagg::SecAggServer::Options ServerOptions() const;
  // As a coordinator that was restarted in the middle of it.
  secagg::SecAggServer ServerIn(secagg::SecAggServer::Phase phase) const;
  // What was told to and by a member; empty messages where nothing was.
  const v1::SecAggServerMessage& Down(
      uint32_t member, v1::SecAggServerMessage::BodyCase body) const;
  const v1::SecAggClientMessage& Up(
      uint32_t member, v1::SecAggClientMessage::BodyCase body) const;
  // A session that can begin like this one.
  const secagg::Harness::Options& options() const { return options_; }

 private:
  explicit Scene(uint32_t n);

  const secagg::Fleet fleet_;
  secagg::Harness::Options options_;
  Digest manifest_ = {};
  std::vector<v1::CohortEntry> cohort_;
  std::vector<Record> records_;
  std::map<std::string, std::string> blobs_;
  std::vector<int64_t> sum_;
  std::vector<std::pair<uint32_t, v1::SecAggServerMessage>> down_;
  std::vector<std::pair<uint32_t, v1::SecAggClientMessage>> up_;
};

// Member kVictim of a scene, alive and in a phase of its session. Does not
// move.
class Device {
 public:
  Device(const Scene& scene, secagg::SecAggClient::Phase phase);
  Device(const Device&) = delete;
  secagg::SecAggClient& party() { return *client_.party; }
  // Tells it a message and looks at what it does: whatever it is told, it
  // leaves with a code of the protocol, shows nothing then, and never shows
  // both kinds of share.
  secagg::SecAggClient::Actions Tell(const v1::SecAggServerMessage& message);

 private:
  secagg::Harness::Client client_;
};

// The same for what a coordinator does with a message.
secagg::SecAggServer::Actions Tell(secagg::SecAggServer& server,
                                   uint32_t member,
                                   const v1::SecAggClientMessage& message);

}  // namespace edgetune::fuzz

#endif  // EDGETUNE_TESTS_FUZZ_SCENE_H_
