#include "tools/operator_calls.h"

#include <fmt/format.h>

#include <filesystem>

#include "absl/time/clock.h"
#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "base/status.h"
#include "base/units.h"
#include "client/train_plan.h"
#include "models/io/adapter/core_adapter.h"
#include "privacy/identity/envelope.h"
#include "protos/full_training.h"
#include "protos/plan_check.h"
#include "storage/blob_store.h"
#include "tools/child_process.h"
#include "tools/model/base_files.h"
#include "tools/model/trained_files.h"
#include "tools/progress.h"

namespace edgetune {
namespace {

constexpr absl::Duration kOverrideLife = absl::Hours(7 * 24);

absl::StatusOr<SigningKey> ReadReleaseKey(const std::string& path) {
  absl::StatusOr<std::string> pem = ReadFile(path, 1 << 16);
  if (!pem.ok()) {
    return Annotate(pem.status(), ErrorKind::kIdentity,
                    "--release-key names the release key of the operator kit "
                    "(release.key.pem)");
  }
  absl::StatusOr<SigningKey> key = SigningKey::FromPem(*pem);
  WipeString(*pem);
  if (key.ok()) return key;
  return Annotate(Prefix(key.status(), path), ErrorKind::kIdentity,
                  "wanted an Ed25519 private key in PEM");
}

absl::Status PutBase(OperatorSession& session, const PreparedRun& run,
                     const Output& output) {
  const v1::ModelSpec& model = run.built.plan.model();
  EDGETUNE_ASSIGN_OR_RETURN(const std::vector<BaseFile> files,
                            BaseFilesOf(run.model_path));
  if (files.size() != static_cast<size_t>(model.parts_size())) {
    return absl::AbortedError(fmt::format(
        "files of the base model {} came or went just now", run.model_path));
  }
  Progress progress(output, "send base model", BaseBytes(model),
                    Progress::Unit::kBytes);
  uint64_t before = 0;
  // The files that the plan was made of a moment ago, in its order.
  for (int i = 0; i < model.parts_size(); ++i) {
    EDGETUNE_ASSIGN_OR_RETURN(
        std::unique_ptr<MappedFile> file,
        MappedFile::Open(files[static_cast<size_t>(i)].path));
    EDGETUNE_ASSIGN_OR_RETURN(const Digest digest,
                              DigestFromBytes(model.parts(i).sha256()));
    EDGETUNE_RETURN_IF_ERROR(session.client->PutPart(
        digest, file->bytes(),
        [&](uint64_t done, uint64_t) { progress.Update(before + done); }));
    before += model.parts(i).size();
  }
  return absl::OkStatus();
}

std::span<const uint8_t> AsBytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// The card of this version, if signed by the pinned round key.
absl::StatusOr<std::pair<v1::ModelCard, v1::Envelope>> FindCard(
    const Kit& kit, const v1::RunStatus& status,
    std::optional<uint32_t> version) {
  for (auto it = status.cards().rbegin(); it != status.cards().rend(); ++it) {
    EDGETUNE_RETURN_IF_ERROR(
        VerifyDocument(DocumentUse::kCard, *it, kit.trusted));
    EDGETUNE_ASSIGN_OR_RETURN(v1::ModelCard card, ParseCard(it->payload()));
    if (version.has_value() && card.version() != *version) continue;
    if (card.plan_digest() != status.run_id()) {
      return Annotate(
          absl::PermissionDeniedError("the card belongs to another run"),
          ErrorKind::kIdentity);
    }
    return std::make_pair(std::move(card), *it);
  }
  return Annotate(
      absl::NotFoundError(
          version.has_value()
              ? fmt::format("the run has no version {}, only {} versions",
                            *version, status.cards_size())
              : std::string("the run has published no adapter yet")),
      ErrorKind::kUsage, "edgetune run show lists what there is");
}

}  // namespace

absl::StatusOr<OperatorSession> ConnectOperator(const std::string& kit,
                                                const std::string& server) {
  OperatorSession session;
  EDGETUNE_ASSIGN_OR_RETURN(session.kit,
                            LoadKit(kit, PartyRole::kOperator, absl::Now()));
  EDGETUNE_ASSIGN_OR_RETURN(session.client,
                            OperatorClient::Connect(session.kit, server));
  return session;
}

absl::StatusOr<v1::RunStatus> SubmitRun(OperatorSession& session,
                                        const PreparedRun& run,
                                        const std::string& release_key,
                                        const Output& output) {
  // Signed first: a wrong key is told before anything is sent.
  EDGETUNE_ASSIGN_OR_RETURN(const SigningKey key, ReadReleaseKey(release_key));
  EDGETUNE_ASSIGN_OR_RETURN(
      const v1::Envelope plan,
      SignDocument(DocumentUse::kPlan, run.built.payload, key));
  EDGETUNE_RETURN_IF_ERROR(PutBase(session, run, output));
  EDGETUNE_ASSIGN_OR_RETURN(
      const Digest initial,
      DigestFromBytes(run.built.plan.lora().initial_digest()));
  EDGETUNE_RETURN_IF_ERROR(session.client->PutPart(
      initial, AsBytes(run.built.initial_blob), [](uint64_t, uint64_t) {}));
  return session.client->Submit(plan);
}

absl::StatusOr<v1::RunStatus> OverrideRun(OperatorSession& session,
                                          const v1::RunStatus& status,
                                          const OverrideWish& wish) {
  if (!status.plan().secagg().enabled()) {
    return Annotate(absl::FailedPreconditionError(
                        "this run does not mask: nothing in it is spent"),
                    ErrorKind::kUsage);
  }
  EDGETUNE_ASSIGN_OR_RETURN(const SigningKey key,
                            ReadReleaseKey(wish.release_key));
  EDGETUNE_ASSIGN_OR_RETURN(auto last,
                            FindCard(session.kit, status, std::nullopt));
  const absl::Time now = absl::Now();
  v1::SpentOverride document;
  document.mutable_header()->set_version(1);
  document.mutable_header()->set_issued_ms(absl::ToUnixMillis(now));
  document.mutable_header()->set_expires_ms(
      absl::ToUnixMillis(now + kOverrideLife));
  document.set_plan_digest(status.run_id());
  document.set_adapter_digest(last.first.adapter_digest());
  document.set_extra(wish.extra);
  EDGETUNE_ASSIGN_OR_RETURN(
      const v1::Envelope envelope,
      SignDocument(DocumentUse::kOverride, document.SerializeAsString(), key));
  return session.client->Override(envelope);
}

namespace {

// The base of a run that trains all parameters, which is small.
absl::StatusOr<std::shared_ptr<const ModelFile>> DownloadBase(
    OperatorSession& session, const v1::ModelSpec& model) {
  EDGETUNE_ASSIGN_OR_RETURN(auto temporary,
                            TemporaryDirectory::Make("", "edgetune-base-"));
  for (const v1::FilePart& part : model.parts()) {
    EDGETUNE_ASSIGN_OR_RETURN(const Digest digest,
                              DigestFromBytes(part.sha256()));
    EDGETUNE_ASSIGN_OR_RETURN(const std::string bytes,
                              session.client->Fetch(digest));
    EDGETUNE_RETURN_IF_ERROR(
        WriteFileAtomically(temporary->path() + "/" + part.name(), bytes));
  }
  EDGETUNE_ASSIGN_OR_RETURN(std::shared_ptr<const ModelFile> base,
                            ModelFile::Open(temporary->path()));
  return base;
}

}  // namespace

absl::StatusOr<DownloadedAdapter> DownloadAdapter(
    OperatorSession& session, const v1::RunStatus& status,
    std::optional<uint32_t> version) {
  DownloadedAdapter downloaded;
  EDGETUNE_ASSIGN_OR_RETURN(auto found, FindCard(session.kit, status, version));
  downloaded.card = std::move(found.first);
  downloaded.envelope = std::move(found.second);
  EDGETUNE_ASSIGN_OR_RETURN(const Digest digest,
                            DigestFromBytes(downloaded.card.adapter_digest()));
  EDGETUNE_ASSIGN_OR_RETURN(std::string blob, session.client->Fetch(digest));
  if (TrainsAll(status.plan())) {
    EDGETUNE_ASSIGN_OR_RETURN(downloaded.base,
                              DownloadBase(session, status.plan().model()));
  }
  Adapter& adapter = downloaded.adapter;
  adapter.spec = AdapterSpecOf(status.plan());
  EDGETUNE_ASSIGN_OR_RETURN(adapter.layout, AdapterLayout(status.plan()));
  EDGETUNE_ASSIGN_OR_RETURN(
      adapter.values, ParseParameters(AsBytes(blob), adapter.layout.size()));
  adapter = PlainAdapter(std::move(adapter));
  return downloaded;
}

absl::Status WriteRunAdapter(const std::string& directory,
                             const DownloadedAdapter& downloaded,
                             const v1::RunStatus& status) {
  const v1::ModelCard& card = downloaded.card;
  const Provenance provenance = {
      {"made_by", "edgetune " EDGETUNE_VERSION ", federated"},
      {"run", status.name()},
      {"run_id", ToHex(status.run_id())},
      {"version", fmt::format("{}", card.version())},
      {"updates", fmt::format("{}", card.updates())},
      {"differential_privacy", "none: no noise, nothing spent of a budget"},
      {"adapter_sha256", ToHex(card.adapter_digest())},
      {"base_sha256", BaseSha256(status.plan().model())}};
  const std::string& base = status.plan().model().name();
  EDGETUNE_RETURN_IF_ERROR(
      downloaded.base == nullptr
          ? WritePeftAdapter(directory, downloaded.adapter, base, provenance)
          : WriteTrained(directory, downloaded.adapter, *downloaded.base, base,
                         provenance));
  const absl::Status written = WriteFileAtomically(
      directory + "/edgetune_card.pb", downloaded.envelope.SerializeAsString());
  if (!written.ok()) {
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
  }
  return written;
}

}  // namespace edgetune
