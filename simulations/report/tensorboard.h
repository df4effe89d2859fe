#ifndef EDGETUNE_SIMULATIONS_REPORT_TENSORBOARD_H_
#define EDGETUNE_SIMULATIONS_REPORT_TENSORBOARD_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "simulations/report/summary.h"

namespace edgetune {

// The bytes of a TensorBoard event file (events.out.tfevents.*). Framing:
// tensorflow/core/lib/io/record_writer.h, u64 length, masked CRC-32C of it,
// data, masked CRC-32C of that, little-endian. Data: an Event of
// tensorflow/core/util/event.proto {wall_time = 1, step = 2, file_version = 3,
// summary = 5} with Summary.Value {tag = 1, simple_value = 2}, by the wire
// format of protocol buffers; scalars that are zero are left out there, as in
// any proto3 writer. One thread; nothing fails.
class TensorBoardFile {
 public:
  TensorBoardFile();  // holds the version record

  // A point of the curve `tag` (UTF-8).
  void AddScalar(std::string_view tag, int64_t step, double wall_time,
                 float value);

  const std::string& bytes() const { return bytes_; }

 private:
  void AddRecord(std::string_view data);

  std::string bytes_;
};

// ((crc >> 15) | (crc << 17)) + 0xa282ead8: a checksum of bytes that hold
// checksums.
uint32_t MaskedCrc32c(std::string_view bytes);

// Curves over rounds: perplexity, updates, bytes_down, bytes_up, train_loss,
// utilisation (training of a round's reports, over all clients for as long as
// the round took). Step: the round; wall time: virtual seconds at its end,
// so the bytes are a function of the run. What is not known has no point.
std::string TensorBoardScalars(const RunSummary& run);

}  // namespace edgetune

#endif  // EDGETUNE_SIMULATIONS_REPORT_TENSORBOARD_H_
