#include "server/message_check.h"

#include <fmt/format.h>

#include <cmath>
#include <string_view>

#include "base/status.h"

namespace edgetune {
namespace {

absl::Status CheckText(std::string_view field, const std::string& text,
                       size_t most) {
  // Control characters would let a device forge lines of the log.
  for (unsigned char c : text) {
    if (c < 0x20 || c == 0x7f) {
      return absl::InvalidArgumentError(
          fmt::format("{} holds a control character", field));
    }
  }
  if (text.size() <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "{} has {} bytes, wanted at most {}", field, text.size(), most));
}

absl::Status CheckHello(const v1::Hello& hello) {
  EDGETUNE_RETURN_IF_ERROR(
      CheckText("hello.client_version", hello.client_version(), 64));
  EDGETUNE_RETURN_IF_ERROR(
      CheckText("hello.population", hello.population(), 128));
  if (!hello.has_resume()) return absl::OkStatus();
  return CheckSessionKey(hello.resume());
}

absl::Status CheckDeclined(const v1::Declined& declined) {
  EDGETUNE_RETURN_IF_ERROR(CheckSessionKey(declined.session()));
  if (!v1::Declined::Reason_IsValid(declined.reason()) ||
      declined.reason() == v1::Declined::REASON_UNSPECIFIED) {
    return absl::InvalidArgumentError(
        fmt::format("declined.reason is {}, not a known reason",
                    static_cast<int>(declined.reason())));
  }
  // 200 characters of at most 4 bytes.
  return CheckText("declined.detail", declined.detail(), 800);
}

// Lengths inside are the session's to judge; here only that there is a body.
absl::Status CheckSecAgg(const v1::ClientSecAgg& secagg) {
  EDGETUNE_RETURN_IF_ERROR(CheckSessionKey(secagg.session()));
  if (secagg.message().body_case() != v1::SecAggClientMessage::BODY_NOT_SET) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError("a masking message without a known body");
}

absl::Status CheckProgress(v1::Progress& progress) {
  EDGETUNE_RETURN_IF_ERROR(CheckSessionKey(progress.session()));
  if (!v1::Progress::Phase_IsValid(progress.phase()) ||
      progress.phase() == v1::Progress::PHASE_UNSPECIFIED) {
    return absl::InvalidArgumentError(
        fmt::format("progress.phase is {}, not a known phase",
                    static_cast<int>(progress.phase())));
  }
  if (!std::isfinite(progress.loss())) progress.set_loss(0);
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckSessionKey(const v1::SessionKey& key) {
  if (key.run_id().size() == 32) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "session.run_id has {} bytes, wanted 32", key.run_id().size()));
}

absl::Status CheckClientMessage(v1::ClientMessage& message) {
  switch (message.body_case()) {
    case v1::ClientMessage::kHello:
      return CheckHello(message.hello());
    case v1::ClientMessage::kAccepted:
      return CheckSessionKey(message.accepted().session());
    case v1::ClientMessage::kDeclined:
      return CheckDeclined(message.declined());
    case v1::ClientMessage::kProgress:
      return CheckProgress(*message.mutable_progress());
    case v1::ClientMessage::kReport:
      return CheckSessionKey(message.report().session());
    case v1::ClientMessage::kSecagg:
      return CheckSecAgg(message.secagg());
    case v1::ClientMessage::BODY_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("a message without a known body");
}

}  // namespace edgetune
