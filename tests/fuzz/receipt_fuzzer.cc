// A receipt as anybody checks it. Input: Envelope.

#include "privacy/secagg/receipt.h"
#include "tests/fuzz/target.h"
#include "tests/privacy_secagg/receipt_maker.h"

namespace edgetune::fuzz {
namespace {

using secagg::CheckedReceipt;
using secagg::ReceiptMaker;

const ReceiptMaker& Maker() {
  static const auto* maker = new ReceiptMaker();
  return *maker;
}

void RequireShown(const CheckedReceipt& checked, const TrustedKeys& keys) {
  uint32_t survivors = 0;
  for (size_t g = 0; g < checked.groups.size(); ++g) {
    const CheckedReceipt::Group& group = checked.groups[g];
    Require(group.members >= 4 && group.threshold <= group.signers &&
                group.signers <= group.survivors &&
                group.survivors <= group.members,
            "t signers among the survivors among the members");
    survivors += group.survivors;
    const v1::GroupReceipt& shown = checked.receipt.groups(static_cast<int>(g));
    static_cast<void>(secagg::CompareWithRecord(
        shown, shown.signatures(0).SerializeAsString(), keys));
  }
  Require(survivors == checked.receipt.survivors(), "survivors are counted");
  for (const RosterMember& member : Maker().fleet.members) {
    const auto place = secagg::FindInReceipt(checked, member.id);
    Require(!place || place->group < checked.groups.size(), "a place in it");
  }
}

}  // namespace

InputShape ShapeOf(std::span<const uint8_t>) {
  return {0, std::make_unique<v1::Envelope>()};
}

}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune;        // NOLINT
  using namespace edgetune::fuzz;  // NOLINT
  v1::Envelope envelope;
  if (!Parse({data, size}, envelope)) return 0;
  static const auto* keys = new TrustedKeys(Maker().keys());
  const auto checked =
      secagg::CheckReceipt(envelope, *keys, secagg::ReceiptMaker::Now());
  if (checked.ok()) RequireShown(*checked, *keys);
  return 0;
}
