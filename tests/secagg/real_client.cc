#include "tests/secagg/real_client.h"

#include <utility>

#include "base/atomic_file.h"
#include "base/status.h"
#include "client/grpc/grpc_transport.h"

namespace edgetune::testing {

RealClient::RealClient(Party party, std::string address, std::string directory)
    : party_(std::move(party)),
      address_(std::move(address)),
      directory_(std::move(directory)) {
  EDGETUNE_CHECK(MakeDirectories(directory_).ok());
  file = MakeClientFile(directory_, party_.kit.identity.id, 8);
  file.state = directory_;
}

RealClient::~RealClient() { Stop(); }

void RealClient::Start() {
  database_ =
      Database::Open(directory_ + "/client.db", Client::Migrations()).value();
  cache_ = BlobStore::Open(directory_ + "/cache").value();
  transport_ = MakeGrpcTransport(party_.kit, address_).value();
  client_ = Client::Make(
                {.transport = transport_.get(),
                 .database = database_.get(),
                 .cache = cache_.get(),
                 .clock = &clock_,
                 .engine = [this](std::string_view) -> absl::StatusOr<Engine*> {
                   return &engine;
                 },
                 .trusted = party_.trusted,
                 .device_id = party_.kit.identity.id,
                 .identity = has_identity_key ? party_.identity : nullptr},
                {.file = file, .decline_pause = absl::Milliseconds(1)})
                .value();
  thread_ = std::thread([this] { (void)client_->Run(); });
}

void RealClient::Stop() {
  if (client_ != nullptr) client_->RequestStop();
  if (thread_.joinable()) thread_.join();
  client_.reset();
  transport_.reset();
  cache_.reset();
  database_.reset();
}

std::vector<Row> RealClient::Rows(const char* sql) const {
  EDGETUNE_CHECK(client_ == nullptr);
  const auto database =
      Database::Open(directory_ + "/client.db", Client::Migrations()).value();
  std::vector<Row> rows;
  EDGETUNE_CHECK(database
                     ->Run([&](Transaction& transaction) -> absl::Status {
                       EDGETUNE_ASSIGN_OR_RETURN(rows, transaction.Query(sql));
                       return absl::OkStatus();
                     })
                     .ok());
  return rows;
}

void RealClient::Execute(const std::string& sql) {
  EDGETUNE_CHECK(client_ == nullptr);
  const auto database =
      Database::Open(directory_ + "/client.db", Client::Migrations()).value();
  EDGETUNE_CHECK(database
                     ->Run([&](Transaction& transaction) {
                       return transaction.Execute(sql.c_str());
                     })
                     .ok());
}

}  // namespace edgetune::testing
