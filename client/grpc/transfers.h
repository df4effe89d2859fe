#ifndef EDGETUNE_CLIENT_GRPC_TRANSFERS_H_
#define EDGETUNE_CLIENT_GRPC_TRANSFERS_H_

// Bytes in chunks over one call, for devices and operators alike. Blocking.

#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "edgetune/v1/federation.grpc.pb.h"
#include "privacy/crypto/hash.h"

namespace edgetune {

inline constexpr uint64_t kTransferChunkBytes = 256 << 10;

using ChunkSink = std::function<absl::Status(std::span<const uint8_t> data,
                                             uint64_t total_size)>;

using ChunkReader = std::unique_ptr<grpc::ClientReader<v1::Chunk>>;

// One download: `open` begins the call on `context`; verified chunks go to
// `sink` in order, and `offset` moves with what it took. DataLoss: a chunk
// with another CRC-32C, more or fewer bytes than announced. A sink that fails
// ends the call with its status.
absl::Status FetchBlob(grpc::ClientContext& context, const std::string& address,
                       const std::function<ChunkReader()>& open,
                       const ChunkSink& sink, uint64_t& offset);

// Writes `bytes` from `offset` on, the key on the first chunk, and half-closes.
// An empty rest sends the key alone. Stops early when the server hung up: the
// call's status says why.
template <typename ChunkMessage, typename Key>
void SendChunks(grpc::ClientWriterInterface<ChunkMessage>& writer,
                const Key& key, uint64_t offset, std::span<const uint8_t> bytes,
                const std::function<void(uint64_t)>& progress) {
  bool first = true;
  while (first || offset < bytes.size()) {
    ChunkMessage chunk;
    if (first) *chunk.mutable_key() = key;
    first = false;
    auto rest = bytes.subspan(offset);
    rest = rest.first(std::min<uint64_t>(rest.size(), kTransferChunkBytes));
    std::string_view data(reinterpret_cast<const char*>(rest.data()),
                          rest.size());
    chunk.set_offset(offset);
    chunk.set_data(data.data(), data.size());
    chunk.set_crc32c(Crc32c(data));
    if (!writer.Write(chunk)) return;
    offset += data.size();
    progress(offset);
  }
  writer.WritesDone();
}

}  // namespace edgetune

#endif  // EDGETUNE_CLIENT_GRPC_TRANSFERS_H_
