#include "simulations/report/tensorboard.h"

#include <gtest/gtest.h>

#include <bit>
#include <string>

#include "base/atomic_file.h"
#include "base/units.h"
#include "privacy/crypto/hash.h"
#include "tests/simulations_report/run_log.h"

namespace edgetune {
namespace {

std::string Repeated(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

// RFC 3720, B.4; the mask undone by its inverse (crc32c.h of TensorFlow:
// rot = masked - delta; crc = rot >> 17 | rot << 15).
TEST(TensorBoardTest, ChecksumsAreMaskedOnesOfPublishedVectors) {
  std::string rising, falling;
  for (int i = 0; i < 32; ++i) {
    rising += static_cast<char>(i);
    falling += static_cast<char>(31 - i);
  }
  const std::pair<std::string, uint32_t> vectors[] = {
      {std::string(32, '\0'), 0x8A9136AAu},
      {Repeated("\xff", 32), 0x62A8AB43u},
      {rising, 0x46DD794Eu},
      {falling, 0x113FDB5Cu}};
  for (const auto& [bytes, crc] : vectors) {
    EXPECT_EQ(Crc32c(bytes), crc);
    const uint32_t turned = MaskedCrc32c(bytes) - 0xa282ead8u;
    EXPECT_EQ(turned >> 17 | turned << 15, crc);
  }
}

// Bytes by make_tensorboard_vectors.py, with its points.
TEST(TensorBoardTest, AFileIsThatOfAnotherImplementation) {
  const auto wanted = ReadFile(
      EDGETUNE_SOURCE_DIR "/tests/simulations_report/tensorboard_vectors.bin");
  ASSERT_TRUE(wanted.ok()) << wanted.status();
  TensorBoardFile file;
  file.AddScalar("perplexity", 0, 0.0, 107.75f);
  file.AddScalar("perplexity", 1, 12.5, 42.99f);
  file.AddScalar("bytes_up", 300, 1e9, 0.0f);
  file.AddScalar(Repeated("Ü", 70), int64_t{1} << 40, 0.1, -1e30f);
  EXPECT_EQ(ToHex(file.bytes()), ToHex(*wanted));
}

// Bytes by the RecordWriter and event.proto of TensorBoard 2.21.0: wall time 2,
// step 3, loss 0.5.
TEST(TensorBoardTest, ARecordIsTensorBoards) {
  TensorBoardFile file;
  const size_t version = file.bytes().size();
  file.AddScalar("loss", 3, 2.0, 0.5f);
  EXPECT_EQ(ToHex(file.bytes().substr(version)),
            "1a00000000000000129bd82d09000000000000004010032a0d0a0b0a046c6f7373"
            "150000003fbac36b94");
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != text.npos;
       at = text.find(part, at + 1)) {
    ++count;
  }
  return count;
}

TEST(TensorBoardTest, WhatIsNotKnownHasNoPoint) {
  testing::RunLog log;
  log.Measured(0, 2, 1);
  log.Started(1, 10);
  log.Reported(1, "a1", 20, 5);
  log.Committed(1, 30, 1);
  const std::string bytes = TensorBoardScalars(log.Summary());
  EXPECT_EQ(Count(bytes, "perplexity"), 1u);
  EXPECT_EQ(Count(bytes, "updates"), 1u);
  EXPECT_EQ(Count(bytes, "train_loss"), 0u);
  TensorBoardFile utilisation;  // 5 s of 4 clients' 20 s
  const size_t version = utilisation.bytes().size();
  utilisation.AddScalar("utilisation", 1, 30, 5.0f / 80);
  EXPECT_EQ(Count(bytes, utilisation.bytes().substr(version)), 1u);
}

}  // namespace
}  // namespace edgetune
