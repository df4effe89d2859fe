// What real rounds leave behind: receipts that hold, and devices' own logs
// that agree with them.

#include "privacy/secagg/receipt.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "client/masking_store.h"
#include "tests/simulations/world.h"

namespace edgetune {
namespace {

using testing::FakeEngine;
using testing::World;

// A finished run of four devices, which have stopped.
class ReceiptsOfARunTest : public ::testing::Test {
 protected:
  ReceiptsOfARunTest() {
    testing::Mask(world_.run.plan);
    for (const char* name : kNames) {
      world_.AddDevice(name, 8, &engine_).Start();
    }
    world_.Submit();
    status_ = world_.WaitEnded();
    for (const char* name : kNames) {
      const std::string state = world_.devices[name]->file.state;
      world_.devices.erase(name);  // lets go of its log
      databases_[name] =
          Database::Open(state + "/client.db", Client::Migrations()).value();
    }
  }

  secagg::CheckedReceipt Checked(int i) {
    v1::Envelope envelope;
    EXPECT_TRUE(envelope.ParseFromString(world_.Blob(status_.receipts(i))));
    auto checked =
        secagg::CheckReceipt(envelope, world_.keys.trusted, absl::Now());
    EXPECT_TRUE(checked.ok()) << checked.status();
    return *std::move(checked);
  }

  static constexpr const char* kNames[] = {"animal", "food", "motion", "body"};
  FakeEngine engine_;
  World world_{4};
  v1::RunStatus status_;
  std::map<std::string, std::unique_ptr<Database>> databases_;
};

TEST_F(ReceiptsOfARunTest, HoldAndAgreeWithEveryDevicesLog) {
  ASSERT_EQ(status_.receipts_size(), 4) << status_.ShortDebugString();
  for (int i = 0; i < status_.receipts_size(); ++i) {
    const secagg::CheckedReceipt receipt = Checked(i);
    EXPECT_EQ(receipt.manifest.round(), static_cast<uint32_t>(i));
    for (const char* name : kNames) {
      const auto place = secagg::FindInReceipt(receipt, ClientIdOf(name));
      ASSERT_TRUE(place.has_value() && place->survived) << name;
      const v1::GroupReceipt& group = receipt.receipt.groups(place->group);
      const auto record =
          MaskingStore(databases_[name].get()).FindSigned(group.session());
      ASSERT_TRUE(record.ok() && record->has_value()) << name;
      EXPECT_EQ((*record)->id.run_id, status_.run_id());
      const absl::Status same = secagg::CompareWithRecord(
          group, (*record)->document, world_.keys.trusted);
      EXPECT_TRUE(same.ok()) << name << same;
    }
  }
}

TEST_F(ReceiptsOfARunTest, OneRoundsLogIsNotAnothers) {
  const secagg::CheckedReceipt first = Checked(0), second = Checked(1);
  MaskingStore store(databases_["animal"].get());
  const auto record =
      store.FindSigned(first.receipt.groups(0).session()).value();
  EXPECT_FALSE(secagg::CompareWithRecord(second.receipt.groups(0),
                                         record->document, world_.keys.trusted)
                   .ok());
}

}  // namespace
}  // namespace edgetune
