#include "server/rpc/operator_service.h"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "base/status.h"
#include "base/units.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "server/rpc/caller.h"
#include "server/rpc/reactors.h"
#include "server/rpc/watch_stream.h"

namespace edgetune {
namespace {

absl::StatusOr<std::string> OperatorOf(
    const grpc::CallbackServerContext& context) {
  return CallerWithRole(context, PartyRole::kOperator, "Operator");
}

absl::StatusOr<std::string> PartName(const v1::PartKey& key) {
  EDGETUNE_ASSIGN_OR_RETURN(Digest digest, DigestFromBytes(key.sha256()));
  return fmt::format("part-{}", ToHex(digest));
}

bool Publishes(const v1::RunStatus& run, const std::string& digest) {
  if (run.plan().lora().initial_digest() == digest) return true;
  for (const v1::FilePart& part : run.plan().model().parts()) {
    if (part.sha256() == digest) return true;
  }
  for (const std::string& receipt : run.receipts()) {
    if (receipt == digest) return true;
  }
  for (const v1::Envelope& envelope : run.cards()) {
    v1::ModelCard card;
    if (card.ParseFromString(envelope.payload()) &&
        card.adapter_digest() == digest) {
      return true;
    }
  }
  return false;
}

absl::Status CheckPublished(Coordinator* coordinator, const Digest& digest) {
  std::string wanted = DigestBytes(digest);
  for (const v1::RunStatus& listed : coordinator->List()) {
    auto run = coordinator->Show(listed.run_id());
    if (run.ok() && Publishes(*run, wanted)) return absl::OkStatus();
  }
  return absl::NotFoundError(
      fmt::format("no run has published a base, adapter or receipt {}", ToHex(digest)));
}

absl::StatusOr<BlobStream*> OpenFetch(Coordinator* coordinator,
                                      const BlobStore& blobs,
                                      const v1::DownloadRequest& request) {
  EDGETUNE_ASSIGN_OR_RETURN(Digest digest, DigestFromBytes(request.digest()));
  EDGETUNE_RETURN_IF_ERROR(CheckPublished(coordinator, digest));
  return OpenBlobStream(blobs, digest, request.offset(), [](uint64_t) {});
}

absl::StatusOr<v1::UploadStatus> WherePartStands(const BlobStore& blobs,
                                                 const v1::PartKey& key) {
  EDGETUNE_ASSIGN_OR_RETURN(std::string name, PartName(key));
  return QueryPartial(blobs, name, key.sha256(), key.size());
}

absl::StatusOr<v1::RunStatus> SubmitChecked(Coordinator* coordinator,
                                            const v1::SubmitRequest& request) {
  EDGETUNE_RETURN_IF_ERROR(
      CheckControlSize(request.ByteSizeLong(), "the submitted plan"));
  return coordinator->Submit(request.plan());
}

}  // namespace

grpc::ServerReadReactor<v1::PartChunk>* OperatorService::PutPart(
    grpc::CallbackServerContext* context, v1::UploadStatus* response) {
  using Reader = grpc::ServerReadReactor<v1::PartChunk>;
  auto caller = OperatorOf(*context);
  if (!caller.ok()) return new RefusedCall<Reader>(caller.status());
  return new UploadStream<v1::PartChunk>(
      context, response, [this, caller = *caller](const v1::PartChunk& first) {
        return UploadIntake::Dependencies{
            blobs_, slots_, "operator/" + caller,
            [key = first.key()] { return PartName(key); }, [](uint64_t) {}};
      });
}

grpc::ServerUnaryReactor* OperatorService::QueryPart(
    grpc::CallbackServerContext* context, const v1::PartKey* request,
    v1::UploadStatus* response) {
  auto caller = OperatorOf(*context);
  if (!caller.ok()) return FinishUnary(context, caller.status());
  return AnswerUnary(context, WherePartStands(*blobs_, *request), response);
}

grpc::ServerUnaryReactor* OperatorService::Submit(
    grpc::CallbackServerContext* context, const v1::SubmitRequest* request,
    v1::RunStatus* response) {
  auto caller = OperatorOf(*context);
  if (!caller.ok()) return FinishUnary(context, caller.status());
  return AnswerUnary(context, SubmitChecked(coordinator_, *request), response);
}

grpc::ServerUnaryReactor* OperatorService::List(
    grpc::CallbackServerContext* context, const v1::ListRequest* request,
    v1::ListResponse* response) {
  auto caller = OperatorOf(*context);
  if (!caller.ok()) return FinishUnary(context, caller.status());
  for (v1::RunStatus& run : coordinator_->List()) {
    // What Show tells besides would outgrow one message after some 80 runs.
    run.clear_plan();
    run.clear_events();
    run.clear_cards();
    run.clear_receipts();
    *response->add_runs() = std::move(run);
  }
  return FinishUnary(context, absl::OkStatus());
}

grpc::ServerUnaryReactor* OperatorService::Show(
    grpc::CallbackServerContext* context, const v1::RunKey* request,
    v1::RunStatus* response) {
  auto caller = OperatorOf(*context);
  if (!caller.ok()) return FinishUnary(context, caller.status());
  return AnswerUnary(context, coordinator_->Show(request->run_id()), response);
}

grpc::ServerWriteReactor<v1::RunStatus>* OperatorService::Watch(
    grpc::CallbackServerContext* context, const v1::RunKey* request) {
  using Writer = grpc::ServerWriteReactor<v1::RunStatus>;
  auto caller = OperatorOf(*context);
  if (!caller.ok()) return new RefusedCall<Writer>(caller.status());
  return WatchStream::Open(request->run_id(), coordinator_);
}

grpc::ServerUnaryReactor* OperatorService::Stop(
    grpc::CallbackServerContext* context, const v1::RunKey* request,
    v1::RunStatus* response) {
  auto caller = OperatorOf(*context);
  if (!caller.ok()) return FinishUnary(context, caller.status());
  return AnswerUnary(context, coordinator_->StopRun(request->run_id()),
                     response);
}

grpc::ServerUnaryReactor* OperatorService::Override(
    grpc::CallbackServerContext* context, const v1::OverrideRequest* request,
    v1::RunStatus* response) {
  auto caller = OperatorOf(*context);
  if (!caller.ok()) return FinishUnary(context, caller.status());
  return AnswerUnary(context, coordinator_->Override(request->override()),
                     response);
}

grpc::ServerWriteReactor<v1::Chunk>* OperatorService::Fetch(
    grpc::CallbackServerContext* context, const v1::DownloadRequest* request) {
  using Writer = grpc::ServerWriteReactor<v1::Chunk>;
  auto caller = OperatorOf(*context);
  if (!caller.ok()) return new RefusedCall<Writer>(caller.status());
  auto stream = OpenFetch(coordinator_, *blobs_, *request);
  if (!stream.ok()) return new RefusedCall<Writer>(stream.status());
  return *stream;
}

}  // namespace edgetune
