#include "protos/grpc_setup.h"

#include <fmt/format.h>
#include <grpc/support/log.h>

#include <cstdlib>
#include <mutex>

#include "base/log.h"

namespace edgetune {
namespace {

void ForwardLog(gpr_log_func_args* args) {
  LogDebug(fmt::format("grpc: {}", args->message));
}

}  // namespace

const char* TlsCipherSuites() {
  return "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
         "TLS_CHACHA20_POLY1305_SHA256:"
         "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
         "ECDHE-ECDSA-CHACHA20-POLY1305";
}

void PrepareGrpc() {
  static std::once_flag once;
  std::call_once(once, [] {
    setenv("GRPC_SSL_CIPHER_SUITES", TlsCipherSuites(), /*replace=*/1);
    gpr_set_log_function(&ForwardLog);
  });
}

}  // namespace edgetune
