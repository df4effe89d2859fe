// A server that holds a good certificate and sends bad answers.

#include <gmock/gmock.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "client/grpc/operator_client.h"
#include "protos/edgetune/v1/operator.grpc.pb.h"
#include "tests/server_rpc/rpc_world.h"

namespace edgetune {
namespace {

v1::Chunk ChunkOf(const std::string& data, uint64_t total_size) {
  v1::Chunk chunk;
  chunk.set_data(data);
  chunk.set_crc32c(Crc32c(data));
  chunk.set_total_size(total_size);
  return chunk;
}

// Answers every Fetch with the same chunks.
class HostileServer final : public v1::Operator::Service {
 public:
  explicit HostileServer(std::vector<v1::Chunk> chunks)
      : chunks_(std::move(chunks)) {
    Kit kit = authority_.MakeKit(PartyRole::kServer, "server");
    grpc::SslServerCredentialsOptions options;
    options.pem_root_certs = kit.ca_pem;
    options.pem_key_cert_pairs = {{kit.key_pem, kit.certificate_pem}};
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::SslServerCredentials(options),
                             &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }

  absl::StatusOr<std::string> FetchFrom(const std::string& wanted) {
    auto client =
        OperatorClient::Connect(authority_.MakeKit(PartyRole::kOperator, "op"),
                                "127.0.0.1:" + std::to_string(port_));
    if (!client.ok()) return client.status();
    return (*client)->Fetch(Sha256(wanted));
  }

  grpc::Status QueryPart(grpc::ServerContext*, const v1::PartKey*,
                         v1::UploadStatus*) override {
    return grpc::Status::OK;
  }
  grpc::Status Fetch(grpc::ServerContext*, const v1::DownloadRequest*,
                     grpc::ServerWriter<v1::Chunk>* writer) override {
    for (const v1::Chunk& chunk : chunks_) writer->Write(chunk);
    return grpc::Status::OK;
  }

 private:
  const std::vector<v1::Chunk> chunks_;
  Authority authority_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

TEST(HostileServerTest, CannotPassOffOtherBytes) {
  HostileServer good({ChunkOf("good ", 10), ChunkOf("bytes", 0)});
  EXPECT_EQ(good.FetchFrom("good bytes").value(), "good bytes");
  absl::Status status = good.FetchFrom("other byte").status();
  EXPECT_TRUE(absl::IsDataLoss(status));
  EXPECT_EQ(KindOf(status), ErrorKind::kDigestMismatch);
}

TEST(HostileServerTest, CannotPassADamagedChunk) {
  v1::Chunk damaged = ChunkOf("good bytes", 10);
  damaged.set_crc32c(damaged.crc32c() ^ 1);
  HostileServer server({damaged});
  EXPECT_TRUE(absl::IsDataLoss(server.FetchFrom("good bytes").status()));
}

TEST(HostileServerTest, CannotSendMoreOrLessThanItAnnounced) {
  HostileServer more({ChunkOf("good ", 7), ChunkOf("bytes", 0)});
  EXPECT_TRUE(absl::IsDataLoss(more.FetchFrom("good bytes").status()));
  HostileServer fewer({ChunkOf("good ", 10)});
  EXPECT_TRUE(absl::IsDataLoss(fewer.FetchFrom("good bytes").status()));
}

TEST(HostileServerTest, CannotSendBytesItDidNotAnnounce) {
  HostileServer unannounced({ChunkOf("good bytes", 0)});
  EXPECT_TRUE(absl::IsDataLoss(unannounced.FetchFrom("good bytes").status()));
}

}  // namespace
}  // namespace edgetune
