#ifndef EDGETUNE_PROTOS_GRPC_SETUP_H_
#define EDGETUNE_PROTOS_GRPC_SETUP_H_

namespace edgetune {

// What this process wants of gRPC before its first credential is made; both
// doors call it, the first call counts. Thread-safe.
//
// gRPC 1.51 cannot set a least TLS version, but its cipher list can leave
// nothing of TLS 1.2 except ECDHE with AEAD; whatever the environment says is
// overwritten, so that nobody widens the list from outside. gRPC's own log
// lines go to the debug level: a stranger's failed handshake is not an error
// of ours.
void PrepareGrpc();

// Initial metadata with which a server says that a Participate stream is open:
// a refusal brings metadata as well, but not this.
inline constexpr char kStreamOpenKey[] = "edgetune-open";

// The list that PrepareGrpc sets, in OpenSSL's notation.
const char* TlsCipherSuites();

}  // namespace edgetune

#endif  // EDGETUNE_PROTOS_GRPC_SETUP_H_
