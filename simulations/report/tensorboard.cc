#include "simulations/report/tensorboard.h"

#include <bit>
#include <optional>

#include "privacy/crypto/hash.h"

namespace edgetune {
namespace {

// Wire types of protocol buffers.
constexpr uint64_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

template <typename T>
void PutFixed(T value, std::string* out) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    out->push_back(static_cast<char>(value >> (8 * i) & 0xff));
  }
}

void PutVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) {
    out->push_back(static_cast<char>(value | 0x80));
  }
  out->push_back(static_cast<char>(value));
}

void PutKey(uint64_t field, uint64_t wire_type, std::string* out) {
  PutVarint(field << 3 | wire_type, out);
}

void PutBytes(uint64_t field, std::string_view bytes, std::string* out) {
  PutKey(field, kBytes, out);
  PutVarint(bytes.size(), out);
  *out += bytes;
}

}  // namespace

uint32_t MaskedCrc32c(std::string_view bytes) {
  return std::rotr(Crc32c(bytes), 15) + 0xa282ead8u;
}

TensorBoardFile::TensorBoardFile() {
  std::string event;
  PutBytes(3, "brain.Event:2", &event);
  AddRecord(event);
}

void TensorBoardFile::AddScalar(std::string_view tag, int64_t step,
                                double wall_time, float value) {
  std::string point;
  PutBytes(1, tag, &point);
  PutKey(2, kFixed32, &point);
  PutFixed(std::bit_cast<uint32_t>(value), &point);
  std::string summary;
  PutBytes(1, point, &summary);
  std::string event;
  if (wall_time != 0) {
    PutKey(1, kFixed64, &event);
    PutFixed(std::bit_cast<uint64_t>(wall_time), &event);
  }
  if (step != 0) {
    PutKey(2, kVarint, &event);
    PutVarint(static_cast<uint64_t>(step), &event);
  }
  PutBytes(5, summary, &event);
  AddRecord(event);
}

void TensorBoardFile::AddRecord(std::string_view data) {
  std::string length;
  PutFixed(static_cast<uint64_t>(data.size()), &length);
  bytes_ += length;
  PutFixed(MaskedCrc32c(length), &bytes_);
  bytes_ += data;
  PutFixed(MaskedCrc32c(data), &bytes_);
}

std::string TensorBoardScalars(const RunSummary& run) {
  TensorBoardFile file;
  for (const RoundSummary& round : run.rounds) {
    const double time = round.end.value_or(round.start.value_or(0));
    const auto add = [&](std::string_view tag, std::optional<double> value) {
      if (!value) return;
      file.AddScalar(tag, round.round, time, static_cast<float>(*value));
    };
    add("perplexity", round.measure.Perplexity());
    add("accuracy", round.held_out.Accuracy());
    add("test_accuracy", round.test.Accuracy());
    add("train_loss", round.train_loss);
    if (round.state == RoundState::kNotRun) continue;
    add("updates", round.updates);
    add("bytes_down", static_cast<double>(round.bytes_down));
    add("bytes_up", static_cast<double>(round.bytes_up));
    if (!round.end || !(*round.end > round.start.value_or(0))) continue;
    const double took = *round.end - round.start.value_or(0);
    add("utilisation",
        round.train_s / (static_cast<double>(run.header.clients) * took));
  }
  return file.bytes();
}

}  // namespace edgetune
