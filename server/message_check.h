#ifndef EDGETUNE_SERVER_MESSAGE_CHECK_H_
#define EDGETUNE_SERVER_MESSAGE_CHECK_H_

#include "absl/status/status.h"
#include "protos/edgetune/v1/federation.pb.h"

namespace edgetune {

// Shape of a device's message: a body is set, session keys are whole, texts
// are short valid UTF-8, enum values are known. Numbers that are for people
// only and not finite become 0. What a report claims is checked by
// CheckReport, because a wrong report is answered and a malformed message ends
// the stream. InvalidArgument names the field.
absl::Status CheckClientMessage(v1::ClientMessage& message);
absl::Status CheckSessionKey(const v1::SessionKey& key);

}  // namespace edgetune

#endif  // EDGETUNE_SERVER_MESSAGE_CHECK_H_
