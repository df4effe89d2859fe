#include "client/grpc/transfers.h"

#include <fmt/format.h>

#include "base/status.h"
#include "client/grpc/channel.h"

namespace edgetune {
namespace {

absl::Status ReceiveChunks(grpc::ClientReader<v1::Chunk>& reader,
                           const ChunkSink& sink, uint64_t& offset,
                           uint64_t& total_size) {
  v1::Chunk chunk;
  bool first = true;
  while (reader.Read(&chunk)) {
    if (first) total_size = chunk.total_size();
    first = false;
    if (Crc32c(chunk.data()) != chunk.crc32c()) {
      return absl::DataLossError(
          fmt::format("chunk at byte {} arrived damaged", offset));
    }
    if (chunk.data().size() > total_size - std::min(offset, total_size)) {
      return absl::DataLossError(
          fmt::format("{} bytes at byte {} of a blob of {} bytes",
                      chunk.data().size(), offset, total_size));
    }
    std::span<const uint8_t> data(
        reinterpret_cast<const uint8_t*>(chunk.data().data()),
        chunk.data().size());
    EDGETUNE_RETURN_IF_ERROR(sink(data, total_size));
    offset += data.size();
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status FetchBlob(grpc::ClientContext& context, const std::string& address,
                       const std::function<ChunkReader()>& open,
                       const ChunkSink& sink, uint64_t& offset) {
  ChunkReader reader = open();
  uint64_t total_size = 0;
  absl::Status received = ReceiveChunks(*reader, sink, offset, total_size);
  if (!received.ok()) context.TryCancel();
  grpc::Status status = reader->Finish();
  if (!received.ok()) return received;
  if (!status.ok()) return CallStatus(status, address);
  if (offset == total_size) return absl::OkStatus();
  return absl::DataLossError(
      fmt::format("download ended at byte {} of {}", offset, total_size));
}

}  // namespace edgetune
