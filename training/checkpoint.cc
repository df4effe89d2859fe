#include "training/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/status.h"
#include "training/distillation/targets.h"
#include "training/schedule.h"

namespace edgetune {
namespace {

static_assert(std::endian::native == std::endian::little,
              "checkpoints are read and written as little-endian memory");

struct Head {
  std::array<char, kCheckpointMagic.size()> magic;
  Digest segment;
  uint64_t coordinates;
  int64_t steps, tokens;
  double first_loss, last_loss, seconds;
};
static_assert(sizeof(Head) == 88 && std::is_trivially_copyable_v<Head>,
              "a head has no padding");

template <typename T>
std::span<const uint8_t> BytesOf(std::span<const T> items) {
  return {reinterpret_cast<const uint8_t*>(items.data()), items.size_bytes()};
}

// Numbers as their memory, vectors and texts after their length.
class FactHash {
 public:
  template <typename T>
  void Add(T number) {
    static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, long double>);
    hash_.Update(BytesOf(std::span<const T>(&number, 1)));
  }
  template <typename T>
  void AddAll(std::span<const T> items) {
    Add(uint64_t{items.size()});
    hash_.Update(BytesOf(items));
  }
  void AddText(std::string_view text) { AddAll(std::span(text)); }
  Digest Finish() { return hash_.Finish(); }

 private:
  Sha256Stream hash_;
};

void AddConfig(const TrainConfig& config, FactHash& hash) {
  hash.Add(config.lr);
  hash.Add(config.steps);
  hash.Add(config.batch);
  hash.Add(config.micro_batch);
  hash.Add(static_cast<int32_t>(config.schedule));
  hash.Add(config.warmup);
  hash.Add(config.grad_clip);
  hash.Add(config.weight_decay);
  hash.Add(config.seed);
  hash.Add(config.round);
  hash.Add(config.rounds);
  hash.Add(static_cast<int32_t>(config.factors));
  hash.Add(config.frozen_rank);
  hash.Add(config.epochs);
  hash.Add(static_cast<int32_t>(config.optimizer));
  hash.Add(config.momentum);
  hash.Add(config.prox_mu);
  hash.AddAll(config.correction);
}

void AddAdapter(const Adapter& adapter, FactHash& hash) {
  hash.Add(adapter.spec.rank);
  hash.Add(adapter.spec.alpha);
  hash.Add(uint64_t{adapter.spec.exceptions.size()});
  for (const auto& [module, shape] : adapter.spec.exceptions) {
    hash.AddText(module);
    hash.Add(shape.rank);
    hash.Add(shape.alpha);
  }
  for (const ParameterLayout::Tensor& tensor : adapter.layout.tensors()) {
    hash.AddText(tensor.name);
    hash.AddAll(std::span<const int64_t>(tensor.shape));
  }
  hash.AddAll(std::span<const float>(adapter.values));
}

void AddExample(const LabelledTokens& example, FactHash& hash) {
  hash.AddAll(std::span<const int32_t>(example.tokens));
  hash.AddAll(std::span<const uint8_t>(example.labelled));
  hash.AddAll(example.image);
}

// What a teacher says of them counts as they do.
void AddTargets(const Segment& segment, FactHash& hash) {
  const TeacherTargets* targets = segment.examples.targets();
  if (targets == nullptr) return;
  hash.AddText(targets->digest());
  hash.Add(segment.config.teacher_alpha);
}

void AddExamples(const Segment& segment, FactHash& hash) {
  ExampleOrder order(segment.config.seed, segment.examples.size());
  for (int64_t step = 0; step < segment.config.steps; ++step) {
    for (const int64_t index : order.Batch(segment.config, step)) {
      AddExample(segment.examples.Get(index), hash);
    }
  }
}

absl::Status DamagedCheckpoint(std::string_view what) {
  return absl::DataLossError(fmt::format("it is damaged: {}", what));
}

// Of a head whose digest held: a program wrote these.
absl::Status CheckProgress(const Head& head, int64_t steps) {
  if (head.steps < 1 || head.steps >= steps || head.tokens < 0) {
    return DamagedCheckpoint(fmt::format("{} steps done of {}, {} tokens",
                                         head.steps, steps, head.tokens));
  }
  if (!std::isfinite(head.first_loss) || !std::isfinite(head.last_loss) ||
      !std::isfinite(head.seconds) || head.seconds < 0) {
    return DamagedCheckpoint("a loss or time that is none");
  }
  return absl::OkStatus();
}

ParameterVector Floats(std::span<const uint8_t> bytes) {
  ParameterVector floats(bytes.size() / sizeof(float));
  std::memcpy(floats.data(), bytes.data(), bytes.size());
  return floats;
}

}  // namespace

Digest SegmentDigest(const Segment& segment, std::string_view task) {
  FactHash hash;
  hash.AddText(EDGETUNE_ENGINE_BUILD_ID);
  hash.AddText(task);
  hash.AddText(segment.engine);
  AddConfig(segment.config, hash);
  AddAdapter(segment.adapter, hash);
  AddExamples(segment, hash);
  AddTargets(segment, hash);
  return hash.Finish();
}

Digest ScoringDigest(const Scoring& scoring, std::string_view task) {
  FactHash hash;
  hash.AddText("scoring");
  hash.AddText(EDGETUNE_ENGINE_BUILD_ID);
  hash.AddText(task);
  hash.AddText(scoring.engine);
  AddAdapter(scoring.adapter, hash);
  const int64_t all = scoring.examples.size();
  const int64_t most =
      scoring.max_examples == 0 ? all : std::min(all, scoring.max_examples);
  for (int64_t i = 0; i < most; ++i) {
    AddExample(scoring.examples.Get(i), hash);
  }
  return hash.Finish();
}

void SaveCheckpoint(const Digest& segment, const SegmentProgress& progress,
                    std::span<const float> values, const Optimizer& optimizer,
                    CheckpointStore& store) {
  Head head = {.magic = {},
               .segment = segment,
               .coordinates = values.size(),
               .steps = progress.steps,
               .tokens = progress.tokens,
               .first_loss = progress.first_loss,
               .last_loss = progress.last_loss,
               .seconds = progress.seconds};
  std::memcpy(head.magic.data(), kCheckpointMagic.data(),
              kCheckpointMagic.size());
  std::vector<std::span<const uint8_t>> parts = {
      BytesOf(std::span<const Head>(&head, 1)), BytesOf(values)};
  for (const std::span<const float> moment : optimizer.moments()) {
    parts.push_back(BytesOf(moment));
  }
  Sha256Stream hash;
  for (const std::span<const uint8_t> part : parts) hash.Update(part);
  const Digest digest = hash.Finish();
  parts.push_back(digest);
  store.Save(parts);
}

absl::StatusOr<SegmentProgress> ReadCheckpoint(std::span<const uint8_t> bytes,
                                               const Digest& segment,
                                               int64_t steps,
                                               std::span<float> values,
                                               Optimizer& optimizer) {
  constexpr size_t kFrame = sizeof(Head) + sizeof(Digest);
  Head head;
  if (bytes.size() < kFrame) {
    return DamagedCheckpoint(
        fmt::format("{} bytes, at least {} are needed", bytes.size(), kFrame));
  }
  const auto content = bytes.first(bytes.size() - sizeof(Digest));
  if (std::memcmp(Sha256(content).data(), bytes.last(sizeof(Digest)).data(),
                  sizeof(Digest)) != 0) {
    return DamagedCheckpoint("its digest is another");
  }
  std::memcpy(&head, bytes.data(), sizeof(head));
  if (std::string_view(head.magic.data(), head.magic.size()) !=
      kCheckpointMagic) {
    return DamagedCheckpoint("it does not begin as one");
  }
  if (head.segment != segment) {
    return absl::FailedPreconditionError(
        "it is of another plan, round, adapter, data, engine or version");
  }
  EDGETUNE_RETURN_IF_ERROR(CheckProgress(head, steps));
  std::vector<ParameterVector> moments(optimizer.moments().size());
  if (head.coordinates != values.size() ||
      bytes.size() != kFrame + (1 + moments.size()) * values.size_bytes()) {
    return DamagedCheckpoint(
        fmt::format("{} coordinates in {} bytes, {} are trained",
                    head.coordinates, bytes.size(), values.size()));
  }
  const auto numbers = content.subspan(sizeof(Head));
  const size_t n = values.size_bytes();
  std::memcpy(values.data(), numbers.data(), n);
  for (size_t i = 0; i < moments.size(); ++i) {
    moments[i] = Floats(numbers.subspan((1 + i) * n, n));
  }
  optimizer.Restore(head.steps, std::move(moments));
  return SegmentProgress{head.steps, head.tokens, head.first_loss,
                         head.last_loss, head.seconds};
}

}  // namespace edgetune
