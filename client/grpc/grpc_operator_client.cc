#include "client/grpc/grpc_operator_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/time/clock.h"
#include "base/status.h"
#include "base/units.h"
#include "client/grpc/back_off.h"
#include "client/grpc/channel.h"
#include "client/grpc/transfers.h"
#include "protos/run_status.h"

namespace edgetune {
namespace {

// Without progress, after which a transfer or watch is given up.
constexpr absl::Duration kPatience = absl::Seconds(60);

// Worth another attempt: the connection, or a stream that another replaced.
bool MayPass(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsAborted(status);
}

v1::RunKey KeyOf(const std::string& run_id) {
  v1::RunKey key;
  key.set_run_id(run_id);
  return key;
}

}  // namespace

std::shared_ptr<grpc::Channel> GrpcOperatorClient::Channel() {
  std::lock_guard<std::mutex> lock(mu_);
  if (channel_ == nullptr) channel_ = MakeChannel(kit_, address_);
  return channel_;
}

absl::Status GrpcOperatorClient::Told(absl::Status status) {
  if (absl::IsUnavailable(status)) {
    std::lock_guard<std::mutex> lock(mu_);
    channel_.reset();
  }
  return status;
}

template <typename Request, typename Response>
absl::StatusOr<Response> GrpcOperatorClient::Unary(
    grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                 Response*),
    const Request& request) {
  auto stub = v1::Operator::NewStub(Channel());
  grpc::ClientContext context;
  SetDeadline(context, kUnaryTime);
  Response response;
  EDGETUNE_RETURN_IF_ERROR(Told(CallStatus(
      (stub.get()->*method)(&context, request, &response), address_)));
  return response;
}

absl::Status GrpcOperatorClient::Persist(
    const std::function<absl::Status(bool&)>& attempt) {
  BackOff back_off;
  absl::Time last_progress = absl::Now();
  while (true) {
    bool advanced = false;
    absl::Status status = attempt(advanced);
    if (status.ok() || !MayPass(status)) return status;
    if (advanced) {
      last_progress = absl::Now();
      back_off.Reset();
    }
    absl::Duration pause = back_off.Next();
    if (absl::Now() + pause > last_progress + kPatience) return status;
    absl::SleepFor(pause);
  }
}

absl::Status GrpcOperatorClient::Probe() {
  v1::PartKey nobody;
  nobody.set_sha256(std::string(32, '\0'));
  nobody.set_size(1);
  return Unary(&Stub::QueryPart, nobody).status();
}

absl::Status GrpcOperatorClient::PutRest(
    const v1::PartKey& key, std::span<const uint8_t> bytes,
    const std::function<void(uint64_t, uint64_t)>& progress, bool& advanced) {
  EDGETUNE_ASSIGN_OR_RETURN(v1::UploadStatus there,
                            Unary(&Stub::QueryPart, key));
  progress(there.committed(), bytes.size());
  if (there.complete()) return absl::OkStatus();
  if (there.committed() > bytes.size()) {
    return absl::DataLossError(
        fmt::format("the server has {} bytes of a part of {}",
                    there.committed(), bytes.size()));
  }
  auto stub = v1::Operator::NewStub(Channel());
  grpc::ClientContext context;
  SetDeadline(context, std::min(kLongestCall, TransferTime(bytes.size() -
                                                           there.committed())));
  v1::UploadStatus response;
  auto writer = stub->PutPart(&context, &response);
  SendChunks(*writer, key, there.committed(), bytes, [&](uint64_t offset) {
    advanced = true;
    progress(offset, bytes.size());
  });
  EDGETUNE_RETURN_IF_ERROR(Told(CallStatus(writer->Finish(), address_)));
  if (response.complete()) return absl::OkStatus();
  return absl::UnavailableError(fmt::format(
      "the server took {} bytes of {}", response.committed(), bytes.size()));
}

absl::Status GrpcOperatorClient::PutPart(
    const Digest& digest, std::span<const uint8_t> bytes,
    const std::function<void(uint64_t, uint64_t)>& progress) {
  v1::PartKey key;
  key.set_sha256(digest.data(), digest.size());
  key.set_size(bytes.size());
  return Persist(
      [&](bool& advanced) { return PutRest(key, bytes, progress, advanced); });
}

absl::StatusOr<v1::RunStatus> GrpcOperatorClient::Submit(
    const v1::Envelope& plan) {
  v1::SubmitRequest request;
  *request.mutable_plan() = plan;
  return Unary(&Stub::Submit, request);
}

absl::StatusOr<std::vector<v1::RunStatus>> GrpcOperatorClient::List() {
  EDGETUNE_ASSIGN_OR_RETURN(v1::ListResponse response,
                            Unary(&Stub::List, v1::ListRequest()));
  return std::vector<v1::RunStatus>(response.runs().begin(),
                                    response.runs().end());
}

absl::StatusOr<v1::RunStatus> GrpcOperatorClient::Show(
    const std::string& run_id) {
  return Unary(&Stub::Show, KeyOf(run_id));
}

absl::StatusOr<v1::RunStatus> GrpcOperatorClient::Stop(
    const std::string& run_id) {
  return Unary(&Stub::Stop, KeyOf(run_id));
}

absl::StatusOr<v1::RunStatus> GrpcOperatorClient::Override(
    const v1::Envelope& envelope) {
  v1::OverrideRequest request;
  *request.mutable_override() = envelope;
  return Unary(&Stub::Override, request);
}

struct GrpcOperatorClient::Watching {
  const std::function<bool(const v1::RunStatus&)>& on_status;
  std::optional<v1::RunStatus> last;
};

absl::Status GrpcOperatorClient::WatchOnce(const v1::RunKey& key,
                                           Watching& watching, bool& advanced) {
  auto stub = v1::Operator::NewStub(Channel());
  grpc::ClientContext context;
  SetDeadline(context, absl::Minutes(15));
  auto reader = stub->Watch(&context, key);
  v1::RunStatus status;
  bool enough = false;
  while (!enough && reader->Read(&status)) {
    advanced = true;
    enough = !watching.on_status(status) || HasEnded(status);
    watching.last = status;
  }
  if (enough) context.TryCancel();
  grpc::Status end = reader->Finish();
  if (enough) return absl::OkStatus();
  EDGETUNE_RETURN_IF_ERROR(Told(CallStatus(end, address_)));
  return absl::UnavailableError(
      fmt::format("{} stopped telling about the run", address_));
}

absl::StatusOr<v1::RunStatus> GrpcOperatorClient::Watch(
    const std::string& run_id,
    const std::function<bool(const v1::RunStatus&)>& on_status) {
  Watching watching{on_status, std::nullopt};
  v1::RunKey key = KeyOf(run_id);
  EDGETUNE_RETURN_IF_ERROR(Persist(
      [&](bool& advanced) { return WatchOnce(key, watching, advanced); }));
  return *std::move(watching.last);
}

absl::StatusOr<std::string> GrpcOperatorClient::Fetch(const Digest& digest) {
  std::string blob;
  uint64_t offset = 0;
  v1::DownloadRequest request;
  request.set_digest(digest.data(), digest.size());
  EDGETUNE_RETURN_IF_ERROR(Persist([&](bool& advanced) {
    auto stub = v1::Operator::NewStub(Channel());
    grpc::ClientContext context;
    SetDeadline(context, kLongestCall);
    request.set_offset(offset);
    return Told(FetchBlob(
        context, address_, [&] { return stub->Fetch(&context, request); },
        [&](std::span<const uint8_t> data, uint64_t) {
          blob.append(data.begin(), data.end());
          advanced = true;
          return absl::OkStatus();
        },
        offset));
  }));
  if (Sha256(blob) == digest) return blob;
  return Annotate(absl::DataLossError(
                      fmt::format("the server's bytes of {} have SHA-256 {}",
                                  ToHex(digest), ToHex(Sha256(blob)))),
                  ErrorKind::kDigestMismatch,
                  "run the command again; if it persists, the server's disk "
                  "is at fault");
}

absl::StatusOr<std::unique_ptr<OperatorClient>> OperatorClient::Connect(
    const Kit& kit, const std::string& address) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string chosen, ChooseAddress(kit, address));
  if (kit.identity.role != PartyRole::kOperator) {
    return Annotate(
        absl::PermissionDeniedError(fmt::format(
            "this kit is of role \"{}\"; runs are handled with one of role "
            "\"operator\"",
            PartyRoleName(kit.identity.role))),
        ErrorKind::kIdentity, "use the operator/ folder of provision");
  }
  auto client = std::make_unique<GrpcOperatorClient>(kit, std::move(chosen));
  EDGETUNE_RETURN_IF_ERROR(client->Probe());
  return absl::StatusOr<std::unique_ptr<OperatorClient>>(std::move(client));
}

}  // namespace edgetune
