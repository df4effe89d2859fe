// What must hold of a masked run however it came to its end, by the numbers of
// the invariants in the design of secure aggregation.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/units.h"
#include "privacy/secagg/encoding.h"
#include "privacy/secagg/receipt.h"
#include "protos/plan_check.h"
#include "storage/blob_store.h"
#include "tests/privacy_secagg/shapes.h"
#include "tests/server/masked_fleet.h"

namespace edgetune {
namespace {

std::vector<bool> SurvivorsOf(const v1::GroupReceipt& group) {
  return *secagg::MembersOf(group.u3(),
                            static_cast<size_t>(group.cohort_size()));
}

v1::RoundManifest ManifestOf(const v1::RoundReceipt& receipt) {
  return *ParseManifest(receipt.manifest().payload());
}

}  // namespace

std::vector<v1::Envelope> MaskedFleet::SignedReceipts() {
  std::vector<v1::Envelope> receipts;
  const v1::RunStatus shown = status();
  for (const std::string& digest : shown.receipts()) {
    const auto blob = *server.blobs().Get(*DigestFromBytes(digest));
    EDGETUNE_CHECK(receipts.emplace_back().ParseFromArray(
        blob->bytes().data(), static_cast<int>(blob->bytes().size())));
  }
  return receipts;
}

std::vector<v1::RoundReceipt> MaskedFleet::Receipts() {
  std::vector<v1::RoundReceipt> receipts;
  for (const v1::Envelope& envelope : SignedReceipts()) {
    EDGETUNE_CHECK(receipts.emplace_back().ParseFromString(envelope.payload()));
  }
  return receipts;
}

MaskedDevice* MaskedFleet::Find(const std::string& client_id) {
  for (auto& device : devices) {
    const ClientId id = ClientIdOf(device->id());
    if (std::equal(id.begin(), id.end(), client_id.begin(), client_id.end(),
                   [](uint8_t a, char b) {
                     return a == static_cast<uint8_t>(b);
                   })) {
      return device.get();
    }
  }
  return nullptr;
}

std::optional<MaskedFleet::Sum> MaskedFleet::PlainSum(
    const v1::RoundReceipt& receipt) {
  Sum sum;
  for (const v1::GroupReceipt& group : receipt.groups()) {
    const std::vector<bool> survivors = SurvivorsOf(group);
    for (int i = 0; i < group.cohort_size(); ++i) {
      if (!survivors[static_cast<size_t>(i)]) continue;
      MaskedDevice* device = Find(group.cohort(i).client_id());
      if (device == nullptr) return std::nullopt;
      const auto session = device->sessions.find(group.session());
      if (session == device->sessions.end()) return std::nullopt;
      const auto& [s, record] = *session;
      const auto values = secagg::Lifted(record.shape, record.input);
      if (values.empty()) return std::nullopt;
      sum.shape = record.shape;
      sum.values.resize(values.size());
      for (size_t j = 0; j < values.size(); ++j) sum.values[j] += values[j];
      ++sum.survivors;
    }
  }
  return sum;
}

// I2, as far as it shows: what was published and measured is what the plain
// integer sum over the signed survivors gives.
std::string MaskedFleet::BrokenSums(const v1::RunStatus& status) {
  const auto receipts = Receipts();
  ParameterVector adapter = server.Adapter(status, 0);
  for (size_t round = 0; round < receipts.size(); ++round) {
    const auto sum = PlainSum(receipts[round]);
    if (!sum.has_value()) return "I2: a survivor that never uploaded";
    if (receipts[round].survivors() != sum->survivors) return "I2: their number";
    const auto plain = secagg::DecodeSum(sum->shape, sum->values);
    const v1::Measure& measure = status.measures(static_cast<int>(round));
    if (measure.nll_sum() != plain.lanes.at(LaneUse::kNll)) {
      return fmt::format("I2: loss of round {}", round);
    }
    if (sum->shape.coordinates == 0) continue;
    const double weight = plain.lanes.at(LaneUse::kWeight);
    for (size_t i = 0; i < adapter.size(); ++i) {
      adapter[i] += static_cast<float>(plain.coordinates[i] / weight);
    }
    if (adapter != server.Adapter(status, static_cast<int>(round) + 1)) {
      return fmt::format("I2: adapter of round {}", round);
    }
  }
  return "";
}

// I1 and I6: one card and one receipt a round, each naming the one before.
std::string MaskedFleet::BrokenChains(const v1::RunStatus& status) {
  const auto rounds = static_cast<int>(plan.rounds().count());
  if (status.cards_size() != rounds + 1) return "I1: cards";
  if (status.receipts_size() != rounds + 1) return "I1: receipts";
  if (status.measures_size() != rounds + 1) return "I1: measures";
  std::string before;
  for (int i = 0; i < status.cards_size(); ++i) {
    const v1::Envelope& card = status.cards(i);
    if (!VerifyDocument(DocumentUse::kCard, card, trusted_).ok()) {
      return "I6: signature of a card";
    }
    if (ParseCard(card.payload())->version() != static_cast<uint32_t>(i) ||
        ParseCard(card.payload())->prev_card_digest() != before) {
      return "I6: chain of cards";
    }
    before = Sha256Bytes(card.payload());
  }
  const auto receipts = Receipts();
  for (int i = 0; i < status.receipts_size(); ++i) {
    const v1::RoundReceipt& receipt = receipts[static_cast<size_t>(i)];
    if (receipt.prev_receipt_digest() !=
            (i == 0 ? "" : status.receipts(i - 1)) ||
        ManifestOf(receipt).round() != static_cast<uint32_t>(i)) {
      return "I6: chain of receipts";
    }
  }
  return "";
}

// I8, and that a survivor set which was durable, or which a device signed, is
// the one that was finished.
std::string MaskedFleet::BrokenReceipt(const v1::Envelope& envelope) {
  const auto checked =
      secagg::CheckReceipt(envelope, trusted_, server.clock().Now());
  if (!checked.ok()) return "I8: " + checked.status().ToString();
  for (const v1::GroupReceipt& group : checked->receipt.groups()) {
    const auto frozen = frozen_.find(group.session());
    if (frozen != frozen_.end() && frozen->second != group.u3()) {
      return "another survivor set than the durable one";
    }
    for (auto& device : devices) {
      const std::string document = device->SignedSet(group.session());
      if (document.empty()) continue;
      const absl::Status same =
          secagg::CompareWithRecord(group, document, trusted_);
      if (!same.ok()) return "another survivor set: " + same.ToString();
    }
  }
  return "";
}

// I3 and I4, of what left the device and of what its store remembers.
std::string MaskedFleet::BrokenDevice(MaskedDevice& device) {
  std::map<std::pair<std::string, int>, uint32_t> contributed;
  for (const auto& [session, record] : device.sessions) {
    if (record.freezes.size() > 1) return "two survivor sets were sent";
    if (record.signatures.size() > 1) return "I3: signed two survivor sets";
    if (record.unmask_answers.size() > 1) return "I3: two answers to R5";
    for (const std::string& bytes : record.unmask_answers) {
      v1::SecAggClientMessage message;
      message.ParseFromString(bytes);
      std::set<uint32_t> dealers;
      for (const auto& share : message.unmask().b_shares()) {
        dealers.insert(share.index());
      }
      for (const auto& share : message.unmask().s_shares()) {
        if (!dealers.insert(share.index()).second) return "I3: both kinds";
      }
    }
    if (!record.masked.empty() && record.input.empty()) {
      return "I4: uploaded, not spent";
    }
    if (!record.masked.empty()) ++contributed[{record.adapter, record.kind}];
  }
  for (const auto& [model, times] : contributed) {
    if (times > 1 + overrides) return "I4: contributed again";
  }
  if (!device.evidence.empty()) return "evidence against an honest coordinator";
  const auto uploads = std::ranges::count_if(
      device.sessions, [](const auto& s) { return !s.second.masked.empty(); });
  return device.TimesSpent() < uploads ? "I4: its store forgot" : "";
}

// Of a finished run only the base, adapters and receipts stay.
std::string MaskedFleet::LeftBehind(const v1::RunStatus& status) {
  std::set<std::string> wanted = {
      ToHex(std::string_view(plan.model().parts(0).sha256()))};
  for (const v1::Envelope& card : status.cards()) {
    wanted.insert(ToHex(
        std::string_view(ParseCard(card.payload())->adapter_digest())));
  }
  for (const std::string& digest : status.receipts()) {
    wanted.insert(ToHex(std::string_view(digest)));
  }
  for (const std::string& name : server.StoredNames()) {
    if (!wanted.count(name)) return "left behind: " + name;
  }
  return "";
}

std::string MaskedFleet::BrokenInvariant() {
  const v1::RunStatus shown = status();
  if (shown.state() != v1::RunStatus::FINISHED) {
    return "not finished: " + shown.ShortDebugString();
  }
  std::string broken = BrokenChains(shown);
  if (broken.empty()) broken = BrokenSums(shown);
  for (const v1::Envelope& receipt : SignedReceipts()) {
    if (broken.empty()) broken = BrokenReceipt(receipt);
  }
  for (auto& device : devices) {
    if (broken.empty()) broken = BrokenDevice(*device);
  }
  return broken.empty() ? LeftBehind(shown) : broken;
}

}  // namespace edgetune
