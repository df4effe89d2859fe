#include "tests/server_rpc/tls_probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <memory>

namespace edgetune {
namespace {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using Context = std::unique_ptr<SSL_CTX, Deleter<SSL_CTX_free>>;
using Session = std::unique_ptr<SSL, Deleter<SSL_free>>;
using Bio = std::unique_ptr<BIO, Deleter<BIO_free>>;

Context MakeContext(const Kit& kit, const std::string& suite) {
  Context context(SSL_CTX_new(TLS_client_method()));
  Bio certificate(BIO_new_mem_buf(kit.certificate_pem.data(), -1));
  Bio key(BIO_new_mem_buf(kit.key_pem.data(), -1));
  std::unique_ptr<X509, Deleter<X509_free>> x509(
      PEM_read_bio_X509(certificate.get(), nullptr, nullptr, nullptr));
  std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>> pkey(
      PEM_read_bio_PrivateKey(key.get(), nullptr, nullptr, nullptr));
  SSL_CTX_use_certificate(context.get(), x509.get());
  SSL_CTX_use_PrivateKey(context.get(), pkey.get());
  if (!suite.empty()) {
    SSL_CTX_set_max_proto_version(context.get(), TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(context.get(), suite.c_str());
  }
  return context;
}

int ConnectTo(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) ==
      0) {
    return fd;
  }
  close(fd);
  return -1;
}

// After a handshake as `kit`; "" when the server refused it.
std::string Probe(int port, const Kit& kit, const std::string& suite,
                  const std::function<std::string(SSL*)>& tell) {
  Context context = MakeContext(kit, suite);
  int fd = ConnectTo(port);
  if (fd < 0) return "no connection";
  Session session(SSL_new(context.get()));
  SSL_set_fd(session.get(), fd);
  // gRPC refuses a client that does not offer HTTP/2.
  const unsigned char h2[] = {2, 'h', '2'};
  SSL_set_alpn_protos(session.get(), h2, sizeof(h2));
  std::string told;
  if (SSL_connect(session.get()) == 1) told = tell(session.get());
  close(fd);
  return told;
}

}  // namespace

std::string ProbeTls(int port, const Kit& kit, const std::string& suite) {
  return Probe(port, kit, suite,
               [](SSL* session) { return SSL_get_version(session); });
}

std::string ProbeCertificate(int port, const Kit& kit) {
  return Probe(port, kit, {}, [](SSL* session) {
    std::string digest(32, '\0');
    X509* certificate = SSL_get0_peer_certificate(session);
    if (certificate == nullptr ||
        X509_digest(certificate, EVP_sha256(),
                    reinterpret_cast<unsigned char*>(digest.data()),
                    nullptr) != 1) {
      digest.clear();
    }
    return digest;
  });
}

}  // namespace edgetune
