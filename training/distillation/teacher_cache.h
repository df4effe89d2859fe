#ifndef EDGETUNE_TRAINING_DISTILLATION_TEACHER_CACHE_H_
#define EDGETUNE_TRAINING_DISTILLATION_TEACHER_CACHE_H_

// A teacher's k likeliest tokens at every labelled position of a set of
// examples, on disk: computed once, used by every pass over the examples and
// by every student of the same vocabulary. Little-endian:
//
//   8 bytes   "EDGETTL1"
//   32 bytes  digest of the teacher's files
//   32 bytes  digest of the student's tokenizer, hence of what the ids mean
//   32 bytes  digest of the examples, as they were encoded
//   f64       temperature
//   i64 x 3   k, tokens of the vocabulary, positions
//   positions times: u16 or, of more than 65,536 tokens, u32 x k  ids,
//   ascending
//                    f16 x k  natural logarithms of their probabilities
//                    f16      that of all others together; -inf: none are left
//   32 bytes  SHA-256 of all before
//
// As float16 a probability is off by at most 0.05 % for each unit of its
// logarithm; the loss normalises what it reads. Mode 0600: the answers tell
// much of the examples.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "privacy/crypto/hash.h"
#include "training/distillation/targets.h"
#include "training/example_source.h"

namespace edgetune {

// What a cache is of. `temperature` as of DistillationConfig, 1 <= k <=
// vocabulary.
struct TeacherCacheFacts {
  Digest teacher = {}, tokenizer = {}, examples = {};
  double temperature = 1;
  int64_t k = 0, vocabulary = 0, positions = 0;
};

// Writes one. Life: Create, Append once a position, Commit; destroyed before
// Commit it leaves nothing. One thread. Errors of AtomicFile.
class TeacherCacheWriter {
 public:
  static absl::StatusOr<std::unique_ptr<TeacherCacheWriter>> Create(
      const std::string& path, const TeacherCacheFacts& facts);

  // k tokens.
  absl::Status Append(const TopTokens& tokens);
  // FailedPrecondition: not as many positions as were promised.
  absl::Status Commit();

 private:
  TeacherCacheWriter(std::unique_ptr<AtomicFile> file,
                     const TeacherCacheFacts& facts)
      : file_(std::move(file)), facts_(facts) {}
  absl::Status Write(std::span<const uint8_t> bytes);

  const std::unique_ptr<AtomicFile> file_;
  const TeacherCacheFacts facts_;
  Sha256Stream hash_;
  int64_t positions_ = 0;
};

// One that was read, mapped. Every byte of it is checked when it is opened.
// Immutable, thread-safe.
class TeacherCache final : public TeacherTargets {
 public:
  // NotFound. DataLoss: not a whole cache, or one with tokens or probabilities
  // that are none. FailedPrecondition: a whole one, of other facts than
  // `wanted`; the message says of which. All kData.
  static absl::StatusOr<std::unique_ptr<TeacherCache>> Open(
      const std::string& path, const TeacherCacheFacts& wanted);

  int64_t k() const override { return facts_.k; }
  int64_t positions() const override { return facts_.positions; }
  double temperature() const override { return facts_.temperature; }
  std::string digest() const override;  // hexadecimal
  void Read(int64_t position, TopTokens& out) const override;

 private:
  TeacherCache(std::unique_ptr<MappedFile> file, const TeacherCacheFacts& facts)
      : file_(std::move(file)), facts_(facts) {}
  absl::Status CheckRows() const;

  const std::unique_ptr<MappedFile> file_;
  const TeacherCacheFacts facts_;
};

// What a cache gives back of these: whoever holds a teacher's answers in memory
// learns the same, bit for bit.
TopTokens AsCached(TopTokens tokens);

// Of all examples and their labels, in order.
Digest ExamplesDigest(const ExampleSource& examples);

}  // namespace edgetune

#endif  // EDGETUNE_TRAINING_DISTILLATION_TEACHER_CACHE_H_
