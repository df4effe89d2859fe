// Certificates that change while devices upload (A22). EDGETUNE_LONG=1 runs 50
// rotations, else 5: a server looks at its files once a second.

#include <gmock/gmock.h>

#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include "base/atomic_file.h"
#include "base/status.h"
#include "client/grpc/grpc_transport.h"
#include "client/transfer.h"
#include "privacy/crypto/certificate.h"
#include "privacy/identity/provision.h"
#include "tests/client_grpc/recording_listener.h"
#include "tests/server_rpc/rpc_world.h"
#include "tests/server_rpc/tls_probe.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;

// A server and a device with provisioned kits on disk.
class RotationTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // As the programs do: a peer that hangs up is an error, not an end.
    signal(SIGPIPE, SIG_IGN);
    ProvisionOptions options;
    options.directory = Path("kits");
    options.device_ids = {"d1", "d2"};
    options.now = absl::Now();
    ASSERT_TRUE(Provision(options).ok());
    server_kit_ =
        LoadKit(Path("kits/server"), PartyRole::kServer, absl::Now()).value();
    device_kit_ =
        LoadKit(Path("kits/devices/d1"), PartyRole::kDevice, absl::Now())
            .value();
    blobs_ = BlobStore::Open(Path("blobs")).value();
    server_ = RpcServer::Start("127.0.0.1:0", server_kit_, &coordinator_,
                               blobs_.get())
                  .value();
    transport_ = MakeGrpcTransport(device_kit_, address()).value();
    ASSERT_TRUE(transport_->Start(&listener_).ok());
    ASSERT_TRUE(listener_.WaitUps(1));
  }
  void TearDown() override {
    if (transport_ != nullptr) transport_->Close();
  }

  std::string Path(const std::string& name) const {
    return directory_.path() + "/" + name;
  }
  std::string address() const {
    return "127.0.0.1:" + std::to_string(server_->port());
  }
  CertificateAndKey Authority() const {
    return {server_kit_.ca_pem,
            ReadFile(Path("kits/enroll/ca.key.pem")).value()};
  }
  void RotateServer() {
    CertificateRequest wish;
    wish.common_name = "server";
    wish.uri = "edgetune://server/server";
    wish.addresses = {"127.0.0.1"};
    wish.server_auth = true;
    wish.not_before = absl::Now() - absl::Minutes(5);
    wish.not_after = absl::Now() + absl::Hours(1);
    const auto made = IssueCertificate(Authority(), wish).value();
    ASSERT_TRUE(ReplaceCertificate(made.key_pem, made.certificate_pem,
                                   absl::Now(), &server_kit_)
                    .ok());
  }
  void RotateDevice() {
    const auto enroll =
        EnrollmentKit::Load(Path("kits/enroll"), absl::Now()).value();
    const auto request = MakeSigningRequest("d1").value();
    const auto certificate =
        enroll.Certify("d1", request.request_der, absl::Now()).value();
    ASSERT_TRUE(ReplaceCertificate(request.key_pem, certificate, absl::Now(),
                                   &device_kit_)
                    .ok());
  }
  // Until new connections get the server's present certificate.
  bool WaitPresented() {
    const std::string wanted =
        ReadCertificate(server_kit_.certificate_pem)->sha256;
    for (int i = 0; i < 400; ++i) {
      if (ProbeCertificate(server_->port(), device_kit_) == wanted) return true;
      absl::SleepFor(absl::Milliseconds(50));
    }
    return false;
  }
  // The device's stream ends and comes back with what its kit holds now.
  bool Reconnect() {
    const size_t ups = listener_.ups();
    coordinator_.ChannelOf("d1")->Close(absl::AbortedError("come again"));
    return listener_.WaitUps(ups + 1) && coordinator_.WaitConnected("d1");
  }
  // An upload is under way.
  bool WaitUpload() {
    const uint64_t before = coordinator_.bytes_up();
    for (int i = 0; i < 60000; ++i) {
      if (coordinator_.bytes_up() != before) return true;
      absl::SleepFor(absl::Milliseconds(1));
    }
    return false;
  }

  testing::ScratchDirectory directory_;
  Kit server_kit_;
  Kit device_kit_;
  std::unique_ptr<BlobStore> blobs_;
  FakeCoordinator coordinator_;
  std::unique_ptr<RpcServer> server_;
  RecordingListener listener_;
  std::unique_ptr<Transport> transport_;
};

// Uploads one update after the other, as a device does round by round.
class Rounds {
 public:
  Rounds(Transport* transport, BlobStore* blobs)
      : transport_(transport), blobs_(blobs), thread_([this] { Upload(); }) {}
  ~Rounds() { End(); }
  void End() {
    ended_ = true;
    if (thread_.joinable()) thread_.join();
  }
  int done() const { return done_; }
  int failed() const { return failed_; }

 private:
  void Upload() {
    Transfer transfer(transport_, blobs_, [](absl::Duration wait) {
      absl::SleepFor(wait);
      return true;
    });
    while (!ended_) {
      const std::string bytes = MakeBytes(4 << 20, 100 + done_ + failed_);
      v1::UploadKey key;
      key.set_sha256(Sha256Bytes(bytes));
      key.set_size(bytes.size());
      const absl::Status sent = transfer.Send(key, AsBytes(bytes));
      EXPECT_TRUE(sent.ok()) << sent;
      const bool stored = sent.ok() && blobs_->Has(Sha256(bytes));
      ++(stored ? done_ : failed_);
    }
  }

  Transport* const transport_;
  BlobStore* const blobs_;
  std::atomic<bool> ended_{false};
  std::atomic<int> done_{0}, failed_{0};
  std::thread thread_;
};

TEST_F(RotationTest, A22NoRoundFailsWhileCertificatesRotate) {
  const int rotations = std::getenv("EDGETUNE_LONG") != nullptr ? 50 : 5;
  Rounds rounds(transport_.get(), blobs_.get());
  for (int i = 0; i < rotations; ++i) {
    ASSERT_TRUE(WaitUpload()) << i;
    RotateServer();
    RotateDevice();
    ASSERT_TRUE(WaitPresented()) << i;
    // Streams that hold for less than 10 s make the device wait longer and
    // longer: in a long run it comes back after every seventh rotation.
    if (rotations > 5 && i % 7 != 6) continue;
    ASSERT_TRUE(Reconnect()) << i;
  }
  rounds.End();
  EXPECT_EQ(rounds.failed(), 0);
  EXPECT_GT(rounds.done(), 0);
}

TEST_F(RotationTest, AnOpenStreamOutlivesItsCertificate) {
  RotateServer();
  ASSERT_TRUE(WaitPresented());
  v1::ClientMessage message;
  message.mutable_hello()->set_population("pop");
  transport_->Send(message);
  EXPECT_TRUE(coordinator_.WaitReceived(1));
  EXPECT_TRUE(listener_.downs().empty());
}

TEST_F(RotationTest, ADeviceReadsItsKitAgainForEachConnection) {
  // Seen from the server, it becomes another device.
  fs::rename(Path("kits/devices/d1"), Path("kits/devices/old"));
  fs::rename(Path("kits/devices/d2"), Path("kits/devices/d1"));
  coordinator_.ChannelOf("d1")->Close(absl::AbortedError("come again"));
  EXPECT_TRUE(coordinator_.WaitConnected("d2"));
}

TEST_F(RotationTest, AKitThatCannotBeReadIsUsedAsItWas) {
  fs::rename(Path("kits/devices/d1"), Path("kits/devices/gone"));
  EXPECT_TRUE(Reconnect());
}

TEST_F(RotationTest, ATornCertificateFileIsOverWithTheNextWholeOne) {
  const std::string good = ReadFile(TlsPathOf(server_kit_)).value();
  const std::string before = ProbeCertificate(server_->port(), device_kit_);
  ASSERT_TRUE(
      WriteFileAtomically(TlsPathOf(server_kit_), good.substr(0, 300)).ok());
  absl::SleepFor(absl::Milliseconds(2500));  // two looks of the server
  ASSERT_TRUE(WriteFileAtomically(TlsPathOf(server_kit_), good).ok());
  EXPECT_TRUE(WaitPresented());
  EXPECT_EQ(ProbeCertificate(server_->port(), device_kit_), before);
}

}  // namespace
}  // namespace edgetune
