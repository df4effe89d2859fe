#ifndef EDGETUNE_CLIENT_GRPC_CHANNEL_H_
#define EDGETUNE_CLIENT_GRPC_CHANNEL_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "privacy/identity/kit.h"

namespace edgetune {

// A channel to one server with TLS from `kit`: the server's certificate must be
// of the kit's CA, in date, valid for the host dialled, and carry the SAN URI
// of the role `peer`. We show the kit's certificate; a kit without a key calls
// as a stranger, whom the enrolment service alone answers. Every channel has
// connections of its own, dials when a call needs it, and not again by itself
// within 30 s of a failure: callers make a new channel to try again.
std::shared_ptr<grpc::Channel> MakeChannel(const Kit& kit,
                                           const std::string& address,
                                           PartyRole peer = PartyRole::kServer);

// `address`, or the kit's when empty; kConfig unless it is host:port.
absl::StatusOr<std::string> ChooseAddress(const Kit& kit,
                                          const std::string& address);

// gRPC's verdict on a call to `address` as a person can use it: one line, kind
// and hint. Unauthenticated: the server is not whom the kit trusts.
// Unavailable: not reached or lost.
absl::Status CallStatus(const grpc::Status& status, const std::string& address);

// A call of one message each way. No connection lives longer (age and grace)
// than the other, hence no transfer.
inline constexpr absl::Duration kUnaryTime = absl::Seconds(30);
inline constexpr absl::Duration kLongestCall = absl::Minutes(11);
void SetDeadline(grpc::ClientContext& context, absl::Duration in);
// Generous for `bytes` on a slow line: a minute and 32 KiB/s.
absl::Duration TransferTime(uint64_t bytes);

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_GRPC_CHANNEL_H_
