#include "training/distillation/teacher_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/status.h"
#include "base/units.h"
#include "models/io/quantise/block_types.h"
#include "models/io/quantise/quantise.h"

namespace edgetune {
namespace {

static_assert(std::endian::native == std::endian::little,
              "caches are read and written as little-endian memory");

constexpr std::string_view kCacheMagic = "EDGETTL1";
constexpr size_t kHalf = 2;               // bytes of a float16
constexpr float kLowestHalf = -65504.0f;  // that is finite
constexpr int64_t kShortIds = 1 << 16;    // tokens that two bytes tell apart
constexpr int64_t kMostTokens = int64_t{1} << 24;
constexpr int64_t kMostPositions = int64_t{1} << 40;
// Of a row's probabilities from 1: float16 makes less than 1 % of the rarest.
constexpr double kSumTolerance = 0.05;

struct CacheHead {
  std::array<char, kCacheMagic.size()> magic;
  Digest teacher, tokenizer, examples;
  double temperature;
  int64_t k, vocabulary, positions;
};
static_assert(sizeof(CacheHead) == 136 &&
                  std::is_trivially_copyable_v<CacheHead>,
              "a head has no padding");

size_t IdBytes(const TeacherCacheFacts& facts) {
  return facts.vocabulary <= kShortIds ? sizeof(uint16_t) : sizeof(uint32_t);
}

size_t RowBytes(const TeacherCacheFacts& facts) {
  const auto k = static_cast<size_t>(facts.k);
  return k * (IdBytes(facts) + kHalf) + kHalf;
}

absl::Status Unusable(const std::string& path, absl::Status status) {
  return Annotate(Prefix(status, path), ErrorKind::kData,
                  "remove it, or name another with --cache");
}

absl::Status DamagedCache(const std::string& what) {
  return absl::DataLossError("a damaged cache of a teacher: " + what);
}

absl::Status OfAnother(const std::string& what) {
  return absl::FailedPreconditionError("a cache of " + what);
}

absl::StatusOr<TeacherCacheFacts> FactsOf(std::span<const uint8_t> bytes) {
  constexpr size_t kFrame = sizeof(CacheHead) + sizeof(Digest);
  if (bytes.size() < kFrame) {
    return DamagedCache(
        fmt::format("{} bytes, at least {} are needed", bytes.size(), kFrame));
  }
  CacheHead head;
  std::memcpy(&head, bytes.data(), sizeof(head));
  if (std::string_view(head.magic.data(), head.magic.size()) != kCacheMagic) {
    return DamagedCache("it does not begin as one");
  }
  if (head.vocabulary < 1 || head.vocabulary > kMostTokens || head.k < 1 ||
      head.k > head.vocabulary || head.positions < 0 ||
      head.positions > kMostPositions) {
    return DamagedCache(fmt::format("{} of {} tokens at {} positions", head.k,
                                    head.vocabulary, head.positions));
  }
  const TeacherCacheFacts facts = {.teacher = head.teacher,
                                   .tokenizer = head.tokenizer,
                                   .examples = head.examples,
                                   .temperature = head.temperature,
                                   .k = head.k,
                                   .vocabulary = head.vocabulary,
                                   .positions = head.positions};
  // At most 2^40 rows of less than 2^27 bytes: a division cannot overflow.
  const size_t rows = bytes.size() - kFrame, row = RowBytes(facts);
  if (rows % row != 0 || rows / row != static_cast<size_t>(head.positions)) {
    return DamagedCache(fmt::format("{} bytes for {} positions of {} bytes",
                                    rows, head.positions, row));
  }
  if (Sha256(bytes.first(bytes.size() - sizeof(Digest))) !=
      *reinterpret_cast<const Digest*>(bytes.last(sizeof(Digest)).data())) {
    return DamagedCache("its digest is another");
  }
  return facts;
}

absl::Status CheckFacts(const TeacherCacheFacts& is,
                        const TeacherCacheFacts& wanted) {
  if (is.teacher != wanted.teacher) return OfAnother("another teacher");
  if (is.tokenizer != wanted.tokenizer) return OfAnother("another tokenizer");
  if (is.vocabulary != wanted.vocabulary) {
    return OfAnother(fmt::format("a vocabulary of {} tokens, wanted {}",
                                 is.vocabulary, wanted.vocabulary));
  }
  if (is.temperature != wanted.temperature) {
    return OfAnother(fmt::format("temperature {}, wanted {}", is.temperature,
                                 wanted.temperature));
  }
  if (is.k != wanted.k) {
    return OfAnother(
        fmt::format("the {} likeliest tokens, wanted {}", is.k, wanted.k));
  }
  if (is.examples != wanted.examples) return OfAnother("other examples");
  if (is.positions == wanted.positions) return absl::OkStatus();
  return DamagedCache(fmt::format("{} positions, the examples have {}",
                                  is.positions, wanted.positions));
}

// Of one row that holds a token's id more than once, or in another order.
bool Ascends(const std::vector<int32_t>& ids, int64_t vocabulary) {
  int64_t last = -1;
  for (const int32_t id : ids) {
    if (id <= last || id >= vocabulary) return false;
    last = id;
  }
  return true;
}

absl::Status CheckRow(const TopTokens& row, const TeacherCacheFacts& facts) {
  if (!Ascends(row.ids, facts.vocabulary)) {
    return absl::DataLossError("tokens that are none, or not in order");
  }
  double sum = std::exp(static_cast<double>(row.log_rest));
  for (const float value : row.log_probabilities) {
    if (!std::isfinite(value) || value > 0) {
      return absl::DataLossError("a probability that is none");
    }
    sum += std::exp(static_cast<double>(value));
  }
  if (!(std::abs(sum - 1) <= kSumTolerance)) {
    return absl::DataLossError(
        fmt::format("probabilities with a sum of {}, wanted 1", sum));
  }
  const float none = -std::numeric_limits<float>::infinity();
  if (facts.k == facts.vocabulary && row.log_rest != none) {
    return absl::DataLossError("a rest beside all tokens");
  }
  return absl::OkStatus();
}

template <typename Id>
void AppendIds(const std::vector<int32_t>& ids, std::string& out) {
  for (const int32_t id : ids) {
    const auto narrow = static_cast<Id>(id);
    out.append(reinterpret_cast<const char*>(&narrow), sizeof(narrow));
  }
}

// Of the tokens, then of the rest. What float32 has below float16's range is
// nothing either way.
std::vector<uint8_t> HalvesOf(const TopTokens& tokens) {
  std::vector<float> values;
  for (const float value : tokens.log_probabilities) {
    values.push_back(std::max(value, kLowestHalf));
  }
  values.push_back(tokens.log_rest < kLowestHalf
                       ? -std::numeric_limits<float>::infinity()
                       : tokens.log_rest);
  std::vector<uint8_t> halves(values.size() * kHalf);
  Quantise(BlockType::kF16, values, halves);
  return halves;
}
void ReadHalves(std::span<const uint8_t> halves, TopTokens& out) {
  out.log_probabilities.resize(halves.size() / kHalf);
  Dequantise(BlockType::kF16, halves, out.log_probabilities);
  out.log_rest = out.log_probabilities.back();
  out.log_probabilities.pop_back();
}

template <typename Id>
void ReadIds(const uint8_t* from, std::vector<int32_t>& ids) {
  for (int32_t& id : ids) {
    Id narrow;
    std::memcpy(&narrow, from, sizeof(narrow));
    from += sizeof(narrow);
    id = static_cast<int32_t>(narrow);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<TeacherCacheWriter>> TeacherCacheWriter::Create(
    const std::string& path, const TeacherCacheFacts& facts) {
  EDGETUNE_ASSIGN_OR_RETURN(auto file, AtomicFile::Create(path, 0600));
  auto writer = std::unique_ptr<TeacherCacheWriter>(
      new TeacherCacheWriter(std::move(file), facts));
  CacheHead head = {.magic = {},
                    .teacher = facts.teacher,
                    .tokenizer = facts.tokenizer,
                    .examples = facts.examples,
                    .temperature = facts.temperature,
                    .k = facts.k,
                    .vocabulary = facts.vocabulary,
                    .positions = facts.positions};
  std::memcpy(head.magic.data(), kCacheMagic.data(), kCacheMagic.size());
  EDGETUNE_RETURN_IF_ERROR(
      writer->Write({reinterpret_cast<const uint8_t*>(&head), sizeof(head)}));
  return writer;
}

absl::Status TeacherCacheWriter::Append(const TopTokens& tokens) {
  const auto k = static_cast<size_t>(facts_.k);
  EDGETUNE_CHECK(tokens.ids.size() == k);
  EDGETUNE_CHECK(tokens.log_probabilities.size() == k);
  std::string row;
  IdBytes(facts_) == sizeof(uint16_t) ? AppendIds<uint16_t>(tokens.ids, row)
                                      : AppendIds<uint32_t>(tokens.ids, row);
  const std::vector<uint8_t> halves = HalvesOf(tokens);
  row.append(halves.begin(), halves.end());
  ++positions_;
  return Write({reinterpret_cast<const uint8_t*>(row.data()), row.size()});
}

absl::Status TeacherCacheWriter::Commit() {
  if (positions_ != facts_.positions) {
    return absl::FailedPreconditionError(
        fmt::format("{} positions were written of {} promised", positions_,
                    facts_.positions));
  }
  EDGETUNE_RETURN_IF_ERROR(file_->Append(hash_.Finish()));
  return file_->Commit();
}

absl::Status TeacherCacheWriter::Write(std::span<const uint8_t> bytes) {
  hash_.Update(bytes);
  return file_->Append(bytes);
}

absl::StatusOr<std::unique_ptr<TeacherCache>> TeacherCache::Open(
    const std::string& path, const TeacherCacheFacts& wanted) {
  auto file = MappedFile::Open(path);
  if (!file.ok()) return Annotate(file.status(), ErrorKind::kData);
  const auto facts = FactsOf((*file)->bytes());
  if (!facts.ok()) return Unusable(path, facts.status());
  if (const auto status = CheckFacts(*facts, wanted); !status.ok()) {
    return Unusable(path, status);
  }
  auto cache =
      std::unique_ptr<TeacherCache>(new TeacherCache(*std::move(file), *facts));
  if (const auto status = cache->CheckRows(); !status.ok()) {
    return Unusable(path, status);
  }
  return cache;
}

absl::Status TeacherCache::CheckRows() const {
  TopTokens row;
  for (int64_t i = 0; i < facts_.positions; ++i) {
    Read(i, row);
    const absl::Status status = CheckRow(row, facts_);
    if (status.ok()) continue;
    return DamagedCache(
        fmt::format("position {} has {}", i, std::string(status.message())));
  }
  return absl::OkStatus();
}

std::string TeacherCache::digest() const {
  return ToHex(file_->bytes().last(sizeof(Digest)));
}

void TeacherCache::Read(int64_t position, TopTokens& out) const {
  const auto k = static_cast<size_t>(facts_.k);
  const std::span<const uint8_t> row = file_->bytes().subspan(
      sizeof(CacheHead) + static_cast<size_t>(position) * RowBytes(facts_),
      RowBytes(facts_));
  out.ids.resize(k);
  const bool narrow = IdBytes(facts_) == sizeof(uint16_t);
  narrow ? ReadIds<uint16_t>(row.data(), out.ids)
         : ReadIds<uint32_t>(row.data(), out.ids);
  ReadHalves(row.last((k + 1) * kHalf), out);
}

TopTokens AsCached(TopTokens tokens) {
  ReadHalves(HalvesOf(tokens), tokens);
  return tokens;
}

Digest ExamplesDigest(const ExampleSource& examples) {
  Sha256Stream hash;
  for (int64_t i = 0; i < examples.size(); ++i) {
    const LabelledTokens& example = examples.Get(i);
    const uint64_t size = example.tokens.size();
    hash.Update({reinterpret_cast<const uint8_t*>(&size), sizeof(size)});
    hash.Update({reinterpret_cast<const uint8_t*>(example.tokens.data()),
                 size * sizeof(int32_t)});
    hash.Update(example.labelled);
    hash.Update(example.image);
  }
  return hash.Finish();
}

}  // namespace edgetune
