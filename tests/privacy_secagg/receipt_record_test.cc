// A receipt against what a device wrote down when it signed.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "base/status.h"
#include "privacy/secagg/encoding.h"
#include "privacy/secagg/receipt.h"
#include "tests/privacy_secagg/receipt_maker.h"

namespace edgetune::secagg {
namespace {

using ::testing::HasSubstr;

CheckedReceipt Checked(const ReceiptMaker& maker) {
  return CheckReceipt(maker.Make(), maker.keys(), ReceiptMaker::Now()).value();
}

v1::SignedStatement Frozen(const ReceiptMaker& maker,
                           const v1::GroupReceipt& group) {
  Digest session = {};
  std::copy_n(group.session().begin(), 32, session.begin());
  v1::SignedStatement record;
  record.set_statement(FreezeBytes(session, group.u2(), group.u3()));
  record.set_signature(maker.fleet.round_key.Sign(record.statement()).value());
  return record;
}

TEST(ReceiptRecordTest, TheSameSetIsRecognised) {
  const ReceiptMaker maker;
  const auto receipt = Checked(maker);
  const v1::GroupReceipt& group = receipt.receipt.groups(1);
  const std::string record = Frozen(maker, group).SerializeAsString();
  EXPECT_TRUE(CompareWithRecord(group, record, maker.keys()).ok());
}

TEST(ReceiptRecordTest, AnotherSetIsProofAgainstTheCoordinator) {
  const ReceiptMaker maker;
  const auto receipt = Checked(maker);
  v1::GroupReceipt other = receipt.receipt.groups(1);
  other.set_u3(BitmapOf({1, 1, 0, 1}));
  const std::string record = Frozen(maker, other).SerializeAsString();
  const absl::Status status =
      CompareWithRecord(receipt.receipt.groups(1), record, maker.keys());
  EXPECT_EQ(KindOf(status), ErrorKind::kFailed);
  EXPECT_THAT(std::string(status.message()), HasSubstr("signed two"));
}

TEST(ReceiptRecordTest, ARecordOfNobodyAccusesNobody) {
  const ReceiptMaker maker;
  const auto receipt = Checked(maker);
  const v1::GroupReceipt& group = receipt.receipt.groups(1);
  v1::SignedStatement record = Frozen(maker, group);
  record.set_signature(
      maker.fleet.foreign_key.Sign(record.statement()).value());
  for (const std::string& bytes :
       {record.SerializeAsString(), std::string("\xff\xff"), std::string()}) {
    EXPECT_TRUE(
        absl::IsDataLoss(CompareWithRecord(group, bytes, maker.keys())));
  }
}

}  // namespace
}  // namespace edgetune::secagg
