// Writes a receipt, kits that see it differently, and logs of one device, for
// the tests of `edgetune receipt verify`. Prints the run's id.

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/status.h"
#include "base/units.h"
#include "client/client.h"
#include "client/masking_store.h"
#include "privacy/identity/kit_description.h"
#include "privacy/secagg/encoding.h"
#include "storage/blob_store.h"
#include "tests/privacy_secagg/receipt_maker.h"

namespace edgetune {
namespace {

using secagg::ReceiptMaker;

struct Kit {
  std::string folder;
  Identity identity;
  TrustedKeys trusted;
};

absl::Status WriteKit(const Kit& kit) {
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(kit.folder));
  KitDescription description;
  description.identity = kit.identity;
  description.server_address = "localhost:7443";
  description.trusted = kit.trusted;
  return WriteFileAtomically(kit.folder + "/kit.json",
                             ToJson(description).dump());
}

// A client's state whose log holds this U3; empty: nothing.
absl::Status WriteState(const std::string& folder, const ReceiptMaker& maker,
                        const v1::GroupReceipt& group, const std::string& u3) {
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(folder));
  EDGETUNE_ASSIGN_OR_RETURN(
      const auto database,
      Database::Open(folder + "/client.db", Client::Migrations()));
  if (u3.empty()) return absl::OkStatus();
  EDGETUNE_ASSIGN_OR_RETURN(const Digest session,
                            DigestFromBytes(group.session()));
  v1::SignedStatement record;
  record.set_statement(secagg::FreezeBytes(session, group.u2(), u3));
  EDGETUNE_ASSIGN_OR_RETURN(*record.mutable_signature(),
                            maker.fleet.round_key.Sign(record.statement()));
  return MaskingStore(database.get())
      .RememberSurvivors({std::string(32, 'r'), 1, 2}, session,
                         record.SerializeAsString(),
                         absl::FromUnixSeconds(1'700'000'002));
}

absl::Status Make(const std::string& folder) {
  const ReceiptMaker maker;
  const v1::Envelope envelope = maker.Make();
  v1::RoundReceipt receipt;
  receipt.ParseFromString(envelope.payload());
  EDGETUNE_RETURN_IF_ERROR(MakeDirectories(folder));
  EDGETUNE_RETURN_IF_ERROR(WriteFileAtomically(folder + "/receipt.pb",
                                               envelope.SerializeAsString()));
  TrustedKeys trusted = maker.keys();
  trusted.release = {maker.fleet.foreign_key.public_key()};
  TrustedKeys foreign = trusted;
  foreign.round = trusted.release;
  const auto device = [&](uint32_t index) {
    return Identity{PartyRole::kDevice,
                    maker.fleet.roster.entries()[index].name()};
  };
  for (const Kit& kit :
       {Kit{folder + "/survivor", device(5), trusted},
        Kit{folder + "/dropped", device(4), trusted},
        Kit{folder + "/outsider", {PartyRole::kDevice, "nobody"}, trusted},
        Kit{folder + "/operator", {PartyRole::kOperator, "operator"}, trusted},
        Kit{folder + "/foreign", device(5), foreign}}) {
    EDGETUNE_RETURN_IF_ERROR(WriteKit(kit));
  }
  const v1::GroupReceipt& group = receipt.groups(1);
  EDGETUNE_RETURN_IF_ERROR(
      WriteState(folder + "/state", maker, group, group.u3()));
  EDGETUNE_RETURN_IF_ERROR(WriteState(folder + "/other-state", maker, group,
                                      secagg::BitmapOf({1, 1, 0, 1})));
  EDGETUNE_RETURN_IF_ERROR(WriteState(folder + "/new-state", maker, group, ""));
  std::printf("%s\n", ToHex(receipt.plan_digest()).c_str());
  return absl::OkStatus();
}

}  // namespace
}  // namespace edgetune

int main(int argc, char** argv) {
  if (argc != 2) return 4;
  const absl::Status status = edgetune::Make(argv[1]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
