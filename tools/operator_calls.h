#ifndef EDGETUNE_TOOLS_OPERATOR_CALLS_H_
#define EDGETUNE_TOOLS_OPERATOR_CALLS_H_

// What an operator does with a coordinator beyond single calls: `run` and
// `demo` share it. Stateless.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "client/grpc/operator_client.h"
#include "privacy/identity/kit.h"
#include "tools/federation/plan_builder.h"
#include "tools/output.h"

namespace edgetune {

// A kit and a connection made with it.
struct OperatorSession {
  Kit kit;
  std::unique_ptr<OperatorClient> client;
};
// `server` empty: the kit's address. kIdentity, kConnection.
absl::StatusOr<OperatorSession> ConnectOperator(const std::string& kit,
                                                const std::string& server);

// Sends base and initial adapter as far as the server lacks them, signs the
// plan with the release key (a PEM file; the server never sees it), submits.
absl::StatusOr<v1::RunStatus> SubmitRun(OperatorSession& session,
                                        const PreparedRun& run,
                                        const std::string& release_key,
                                        const Output& output);

// Signs and hands in an override: devices may contribute `extra` times more
// from the adapter at which the run stands. Valid for 7 days.
struct OverrideWish {
  std::string release_key;  // a PEM file
  uint32_t extra = 1;
};
absl::StatusOr<v1::RunStatus> OverrideRun(OperatorSession& session,
                                          const v1::RunStatus& status,
                                          const OverrideWish& wish);

// An adapter version with the coordinator's signed card, verified.
struct DownloadedAdapter {
  Adapter adapter;
  // Of a run that trains all parameters: what the adapter is the change of.
  std::shared_ptr<const ModelFile> base;
  v1::ModelCard card;
  v1::Envelope envelope;
};
// `version` absent: the last. NotFound, kIdentity, kDigestMismatch.
absl::StatusOr<DownloadedAdapter> DownloadAdapter(
    OperatorSession& session, const v1::RunStatus& status,
    std::optional<uint32_t> version);

// The PEFT directory, or that of the whole model (WriteTrained), with the card
// as edgetune_card.pb in it; whole or not at all.
absl::Status WriteRunAdapter(const std::string& directory,
                             const DownloadedAdapter& downloaded,
                             const v1::RunStatus& status);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_OPERATOR_CALLS_H_
