#include "privacy/secagg/masked_vector.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/status.h"
#include "privacy/crypto/mask_stream.h"

namespace edgetune::secagg {
namespace {

static_assert(std::endian::native == std::endian::little,
              "packed lanes of 32 bits are read as they lie in memory");

constexpr size_t kTileWords = 16384;  // 64 KiB stay in the cache of a core
// Key schedules that a thread holds at once.
constexpr size_t kTermsAtOnce = 1024;

uint32_t LowBits(uint32_t bits) {
  return bits == 32 ? ~uint32_t{0} : (uint32_t{1} << bits) - 1;
}

// Adds the lanes of a checked vector.
void AddPacked(uint32_t bits, std::span<const uint8_t> packed,
               RingVector& lanes) {
  if (bits == 32) {
    for (size_t i = 0; i < lanes.size(); ++i) {
      uint32_t lane;
      std::memcpy(&lane, packed.data() + sizeof(lane) * i, sizeof(lane));
      lanes[i] += lane;
    }
    return;
  }
  const uint32_t mask = LowBits(bits);
  uint64_t window = 0;
  uint32_t held = 0;
  size_t next = 0;
  for (uint32_t& lane : lanes) {
    for (; held < bits; held += 8) {
      window |= static_cast<uint64_t>(packed[next++]) << held;
    }
    lane += static_cast<uint32_t>(window) & mask;
    window >>= bits;
    held -= bits;
  }
}

absl::StatusOr<std::vector<std::pair<MaskStream, bool>>> MakeStreams(
    std::span<const MaskTerm> terms) {
  std::vector<std::pair<MaskStream, bool>> streams;
  streams.reserve(terms.size());
  for (const MaskTerm& term : terms) {
    EDGETUNE_ASSIGN_OR_RETURN(MaskStream stream, MaskStream::Make(term.key));
    streams.emplace_back(std::move(stream), term.subtract);
  }
  return streams;
}

// Takes tile after tile until none is left.
absl::Status MaskTiles(std::span<const MaskTerm> terms,
                       std::atomic<size_t>& next_tile,
                       std::span<uint32_t> lanes) {
  EDGETUNE_ASSIGN_OR_RETURN(auto streams, MakeStreams(terms));
  while (true) {
    const size_t first = next_tile.fetch_add(1) * kTileWords;
    if (first >= lanes.size()) return absl::OkStatus();
    const std::span<uint32_t> tile =
        lanes.subspan(first, std::min(kTileWords, lanes.size() - first));
    for (auto& [stream, subtract] : streams) {
      EDGETUNE_RETURN_IF_ERROR(subtract ? stream.Subtract(first, tile)
                                        : stream.Add(first, tile));
    }
  }
}

absl::Status MaskWithThreads(std::span<const MaskTerm> terms, size_t threads,
                             std::span<uint32_t> lanes) {
  std::atomic<size_t> next_tile = 0;
  std::mutex mutex;
  absl::Status worst;
  const auto work = [&] {
    const absl::Status status = MaskTiles(terms, next_tile, lanes);
    const std::lock_guard lock(mutex);
    worst.Update(status);
  };
  std::vector<std::thread> others;
  others.reserve(threads - 1);
  try {
    while (others.size() + 1 < threads) others.emplace_back(work);
  } catch (const std::system_error&) {
    // The system has no more threads; those there are take all tiles.
  }
  work();
  for (std::thread& other : others) other.join();
  return worst;
}

// A lane's low bits as a signed integer.
int64_t Lift(uint32_t lane, uint32_t bits) {
  return static_cast<int32_t>(lane << (32 - bits)) >> (32 - bits);
}

// Largest sum of `count` honest lanes.
int64_t LargestSum(const MaskedShape& shape, double bound, uint32_t count) {
  return count * (static_cast<int64_t>(bound * shape.ScaleOf(bound)) + 1);
}

absl::Status CheckSums(const MaskedShape& shape, std::span<const int64_t> sums,
                       uint32_t count) {
  for (size_t i = 0; i < shape.lanes.size(); ++i) {
    const int64_t most = LargestSum(shape, shape.lanes[i].bound, count);
    if (sums[i] < 0 || sums[i] > most) {
      return absl::DataLossError(
          fmt::format("the sum of lane {} is out of bounds",
                      static_cast<int>(shape.lanes[i].use)));
    }
  }
  if (shape.coordinates == 0) return absl::OkStatus();
  const int64_t most = LargestSum(shape, shape.bound, count);
  size_t inside = 0;
  for (const int64_t sum : sums.subspan(shape.lanes.size())) {
    inside += sum >= -most && sum <= most ? 1 : 0;
  }
  if (inside != shape.coordinates) {
    return absl::DataLossError(
        fmt::format("sums of {} coordinates are out of bounds",
                    shape.coordinates - inside));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckPacked(const MaskedShape& shape,
                         std::span<const uint8_t> packed) {
  if (packed.size() != shape.byte_size()) {
    return absl::InvalidArgumentError(
        fmt::format("a masked vector of {} bytes, wanted {}", packed.size(),
                    shape.byte_size()));
  }
  const size_t used = shape.size() * shape.bits % 8;
  if (used != 0 && packed.back() >> used != 0) {
    return absl::InvalidArgumentError("a masked vector with padding bits set");
  }
  return absl::OkStatus();
}

std::string PackLanes(const MaskedShape& shape, const RingVector& vector) {
  EDGETUNE_CHECK(vector.size() == shape.size());
  std::string packed(shape.byte_size(), '\0');
  if (shape.bits == 32) {
    std::memcpy(packed.data(), vector.data(), packed.size());
    return packed;
  }
  const uint32_t mask = LowBits(shape.bits);
  uint64_t window = 0;
  uint32_t held = 0;
  size_t next = 0;
  for (const uint32_t lane : vector) {
    window |= static_cast<uint64_t>(lane & mask) << held;
    for (held += shape.bits; held >= 8; held -= 8) {
      packed[next++] = static_cast<char>(window);
      window >>= 8;
    }
  }
  if (held > 0) packed[next] = static_cast<char>(window);
  return packed;
}

absl::StatusOr<RingVector> UnpackLanes(const MaskedShape& shape,
                                       std::span<const uint8_t> packed) {
  EDGETUNE_RETURN_IF_ERROR(CheckShape(shape));
  EDGETUNE_RETURN_IF_ERROR(CheckPacked(shape, packed));
  RingVector lanes(shape.size());
  AddPacked(shape.bits, packed, lanes);
  return lanes;
}

absl::Status ApplyMasks(std::span<const MaskTerm> terms, int threads,
                        RingVector& lanes) {
  const size_t tiles = (lanes.size() + kTileWords - 1) / kTileWords;
  const size_t workers = std::clamp<size_t>(
      static_cast<size_t>(std::max(threads, 1)), 1, std::max<size_t>(tiles, 1));
  for (; !terms.empty();
       terms = terms.subspan(std::min(kTermsAtOnce, terms.size()))) {
    EDGETUNE_RETURN_IF_ERROR(MaskWithThreads(
        terms.first(std::min(kTermsAtOnce, terms.size())), workers, lanes));
  }
  return absl::OkStatus();
}

MaskedSum::MaskedSum(MaskedShape shape)
    : shape_(std::move(shape)), lanes_(shape_.size()) {}

absl::Status MaskedSum::Add(std::span<const uint8_t> packed) {
  if (lanes_.empty()) {
    return absl::FailedPreconditionError("the masks were taken off already");
  }
  EDGETUNE_RETURN_IF_ERROR(CheckShape(shape_));
  EDGETUNE_RETURN_IF_ERROR(CheckPacked(shape_, packed));
  if (count_ == shape_.n_max) {
    return absl::InvalidArgumentError(
        fmt::format("more than {} vectors in one sum", shape_.n_max));
  }
  AddPacked(shape_.bits, packed, lanes_);
  ++count_;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int64_t>> MaskedSum::Unmask(
    std::span<const MaskTerm> terms, uint16_t canary, int threads) {
  if (count_ == 0 || lanes_.empty()) {
    return absl::FailedPreconditionError("no sum to take masks off");
  }
  RingVector lanes = std::exchange(lanes_, {});
  EDGETUNE_RETURN_IF_ERROR(ApplyMasks(terms, threads, lanes));
  const uint32_t mask = LowBits(shape_.bits);
  if ((lanes[0] & mask) != count_ ||
      (lanes[1] & mask) != ((count_ * canary) & mask)) {
    return absl::DataLossError("the canaries are wrong");
  }
  std::vector<int64_t> sums(lanes.size() - 2);
  for (size_t i = 0; i < sums.size(); ++i) {
    sums[i] = Lift(lanes[i + 2], shape_.bits);
  }
  EDGETUNE_RETURN_IF_ERROR(CheckSums(shape_, sums, count_));
  return sums;
}

SumResult DecodeSum(const MaskedShape& shape, std::span<const int64_t> sums) {
  EDGETUNE_CHECK(sums.size() == shape.size() - 2);
  SumResult result;
  for (size_t i = 0; i < shape.lanes.size(); ++i) {
    const MaskedShape::Lane& lane = shape.lanes[i];
    result.lanes[lane.use] =
        static_cast<double>(sums[i]) / shape.ScaleOf(lane.bound);
  }
  const double scale = shape.ScaleOf(shape.bound);
  result.coordinates.reserve(shape.coordinates);
  for (const int64_t sum : sums.subspan(shape.lanes.size())) {
    result.coordinates.push_back(
        static_cast<float>(static_cast<double>(sum) / scale));
  }
  return result;
}

}  // namespace edgetune::secagg
