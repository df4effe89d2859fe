#ifndef EDGETUNE_TESTS_SERVER_RPC_TLS_PROBE_H_
#define EDGETUNE_TESTS_SERVER_RPC_TLS_PROBE_H_

#include <string>

#include "privacy/identity/kit.h"

namespace edgetune {

// Shakes hands with 127.0.0.1:port as `kit`, with OpenSSL itself, and tells the
// protocol version ("TLSv1.3"), or "" when the server refused. With a cipher
// suite named, TLS 1.2 and that suite are all that is offered.
std::string ProbeTls(int port, const Kit& kit, const std::string& suite);

// SHA-256 of the certificate that the server at 127.0.0.1:port shows, or "".
std::string ProbeCertificate(int port, const Kit& kit);

}  // namespace edgetune

#endif  // EDGETUNE_TESTS_SERVER_RPC_TLS_PROBE_H_
