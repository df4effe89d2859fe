#include "training/memory_prediction.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "models/io/llama_names.h"
#include "training/local_training.h"

namespace edgetune {
namespace {

// As in models/fused and training/: how sizes are rounded and cut there.
constexpr uint64_t kTokenStep = 64;                    // fused_trainer.cc
constexpr uint64_t kHeadLabels = 1024;                 // head.cc
constexpr uint64_t kTaughtLogits = uint64_t{4} << 20;  // kGradientLogits
constexpr uint64_t kHeadColumns = 2048;
constexpr uint64_t kHeadStep = 32;
constexpr uint64_t kAttentionBlock = 128;  // attention.cc
constexpr uint64_t kAttentionStep = 16;

constexpr uint64_t kMostKernels = 4096;  // matmul.cc

constexpr uint64_t kInt8Block = 4 * 256 * 576;  // int8_product.cc
constexpr uint64_t kColumnsApart = 16;

// Types that are used as the file has them (block_kernels.h).
bool HasKernels(std::string_view type) {
  constexpr std::string_view kTypes[] = {"F32",  "F16",  "BF16",
                                         "Q8_0", "Q4_0", "Q4_1"};
  return std::ranges::find(kTypes, type) != std::end(kTypes);
}

// Products that differ in shape: with frozen weights and with an adapter of a
// group of linears, there and back, for a number of tokens; of the head for a
// number of labels; of attention for a length.
constexpr uint64_t kFrozenProducts = 9;
constexpr uint64_t kAdapterProducts = 5;
constexpr uint64_t kHeadProducts = 2;
constexpr uint64_t kAttentionProducts = 3;

// Measured, not derived (oneDNN 2.6 on AVX-512): what the engine's library,
// oneDNN's and a thread bring along, and a product of a new shape.
constexpr uint64_t kEngineBytes = 5'000'000;
constexpr uint64_t kThreadBytes = 1'000'000;
constexpr uint64_t kKernelBytes = 50'000;

// Measured too (Zen 5, SmolLM2-135M, passes of 64 to 1,024 tokens): weights to
// be read and products of few rows cost a pass as many tokens; computing
// activations again, 1.30 to 1.43 of the time.
constexpr uint64_t kPassTokens = 64;
constexpr double kTimeAgain = 1.35;

uint64_t U(int64_t n) { return static_cast<uint64_t>(n); }

uint64_t RoundUp(uint64_t n, uint64_t step) {
  return (n + step - 1) / step * step;
}

// Linears that read the same input lie side by side.
struct GroupLinears {
  size_t first, count;
};
constexpr std::array<GroupLinears, 4> kGroups = {
    {{0, 3}, {3, 1}, {4, 2}, {6, 1}}};

// Widths of rows; the names are those of llama_stack.h.
struct Widths {
  explicit Widths(const ModelConfig& c)
      : d(U(c.hidden)),
        f(U(c.ffn)),
        head(U(c.head_dim)),
        query(U(c.heads * c.head_dim)),
        qkv(query + 2 * U(c.kv_heads * c.head_dim)) {}
  uint64_t d, f, head, query, qkv;
};

// The largest that passes of one kind need of each dimension, and how many
// shapes of products they bring.
struct Extent {
  uint64_t passes = 0, all_tokens = 0;
  uint64_t tokens = 0;   // M, filled up
  uint64_t labels = 0;   // N
  uint64_t longest = 0;  // sequence, rounded up
  std::set<uint64_t> token_counts, label_counts, lengths;
};

void AddPass(const std::vector<ExampleSize>& examples, size_t begin, size_t end,
             Extent& extent) {
  uint64_t tokens = 0, labels = 0;
  const auto add_length = [&](uint64_t length) {
    const uint64_t rounded = RoundUp(length, kAttentionStep);
    extent.longest = std::max(extent.longest, rounded);
    extent.lengths.insert(rounded);
  };
  for (size_t i = begin; i < end; ++i) {
    tokens += U(examples[i].tokens);
    labels += U(examples[i].labels);
    add_length(U(examples[i].tokens));
  }
  const uint64_t filled = RoundUp(tokens, kTokenStep);
  if (filled > tokens) add_length(filled - tokens);
  ++extent.passes;
  extent.all_tokens += filled;
  extent.tokens = std::max(extent.tokens, filled);
  extent.labels = std::max(extent.labels, labels);
  extent.token_counts.insert(filled);
  extent.label_counts.insert(std::min(RoundUp(labels, kHeadStep), kHeadLabels));
}

std::vector<ExampleSize> Cut(std::vector<ExampleSize> examples,
                             int64_t max_length) {
  if (max_length <= 0) return examples;
  for (ExampleSize& example : examples) {
    example.tokens = std::min(example.tokens, max_length);
    example.labels = std::min(example.labels, example.tokens - 1);
  }
  return examples;
}

Extent TrainingExtent(const MemoryWork& work, const MemoryChoice& choice) {
  Extent extent;
  const size_t micro = U(choice.micro_batch);
  for (const auto& step : work.steps) {
    const std::vector<ExampleSize> examples = Cut(step, choice.max_length);
    for (size_t begin = 0; begin < examples.size(); begin += micro) {
      AddPass(examples, begin, std::min(begin + micro, examples.size()),
              extent);
    }
  }
  return extent;
}

// Passes as EvaluateExamples makes them.
void AddEvaluation(const std::vector<ExampleSize>& all, Extent& extent) {
  for (size_t begin = 0, end = 0; begin < all.size(); begin = end) {
    uint64_t tokens = 0;
    do {
      tokens += U(all[end++].tokens);
    } while (end < all.size() &&
             tokens + U(all[end].tokens) <= kEvaluationTokens);
    AddPass(all, begin, end, extent);
  }
}

Extent EvaluationExtent(const MemoryWork& work, const MemoryChoice& choice) {
  Extent extent;
  AddEvaluation(Cut(work.held_out, choice.max_length), extent);
  AddEvaluation(Cut(work.incoming, choice.max_length), extent);
  return extent;
}

class Predictor {
 public:
  Predictor(const MemoryWork& work, const MemoryChoice& choice)
      : work_(work),
        choice_(choice),
        widths_(work.model),
        t_(work.bf16 ? 2 : 4),
        train_(TrainingExtent(work, choice)),
        score_(EvaluationExtent(work, choice)) {}

  MemoryPrediction Predict() const {
    MemoryPrediction out;
    const auto add = [&](const char* name, uint64_t bytes) {
      if (bytes == 0) return;
      out.parts.push_back({name, bytes});
      out.peak += bytes;
    };
    add("program, data and adapter", work_.resident);
    add("engine and its code", EngineBytes());
    add("weights", WeightBytes());
    add("one matrix, de-quantised", ScratchBytes());
    add("kept for the way back", KeptBytes());
    add("one layer at work", WorkingBytes());
    add("attention", AttentionBytes());
    add("head", HeadBytes());
    add("gradient and optimiser", OptimiserBytes());
    return out;
  }

 private:
  uint64_t MostTokens() const { return std::max(train_.tokens, score_.tokens); }

  // Shapes of products that oneDNN generates code for.
  uint64_t Kernels() const {
    uint64_t adapted = 0;  // groups of linears
    for (const GroupLinears& group : kGroups) {
      adapted += RankOf(0, group) > 0 ? 1 : 0;
    }
    const uint64_t all =
        (kFrozenProducts + kAdapterProducts * adapted) *
            train_.token_counts.size() +
        (4 + adapted) * score_.token_counts.size() +
        kHeadProducts * train_.label_counts.size() +
        kAttentionProducts * (train_.lengths.size() + score_.lengths.size());
    return std::min(all, kMostKernels);
  }

  uint64_t EngineBytes() const {
    return kEngineBytes + kThreadBytes * U(work_.threads) +
           kKernelBytes * Kernels();
  }

  // --- weights

  // The name of the type that a matrix is multiplied in, as files call it.
  std::string_view ComputeType() const { return work_.bf16 ? "BF16" : "F32"; }

  bool IsLinear(const TensorInfo& tensor) const {
    return tensor.name.ends_with("_proj.weight");
  }

  uint64_t CopiedBytes(const TensorInfo& tensor) const {
    uint64_t elements = 1;
    for (const int64_t d : tensor.shape) elements *= U(d);
    if (tensor.shape.size() < 2) return 4 * elements;  // norms and biases
    if (work_.int8 && IsLinear(tensor)) return elements + 4 * U(tensor.rows());
    return t_ * elements;
  }

  // As weights.cc decides.
  bool IsMapped(const TensorInfo& tensor) const {
    return choice_.weights == WeightMemory::kMapped &&
           tensor.shape.size() >= 2 && !(work_.int8 && IsLinear(tensor)) &&
           tensor.bytes <= CopiedBytes(tensor) && HasKernels(tensor.type);
  }

  uint64_t WeightBytes() const {
    uint64_t sum = 0;
    for (const TensorInfo& tensor : work_.tensors) {
      sum += IsMapped(tensor) ? tensor.bytes : CopiedBytes(tensor);
    }
    return sum;
  }

  // Whether a mapped matrix is not multiplied as it lies in the file.
  bool NeedsScratch(std::string_view name, bool several) const {
    return std::any_of(work_.tensors.begin(), work_.tensors.end(),
                       [&](const TensorInfo& tensor) {
                         return tensor.name.ends_with(name) &&
                                IsMapped(tensor) &&
                                (several || tensor.type != ComputeType());
                       });
  }

  uint64_t ScratchBytes() const {
    uint64_t most = 0;
    for (const GroupLinears& group : kGroups) {
      uint64_t size = 0;
      bool needed = false;
      for (size_t i = group.first; i < group.first + group.count; ++i) {
        const LinearShape shape = LlamaLinearShape(work_.model, i);
        size += U(shape.out * shape.in);
        needed |= NeedsScratch(std::string(kLlamaLinears[i].module) + ".weight",
                               group.count > 1);
      }
      if (needed) most = std::max(most, t_ * size);
    }
    const char* head =
        work_.model.tied ? "embed_tokens.weight" : "lm_head.weight";
    if (!NeedsScratch(head, false)) return most;
    return most + t_ * HeadColumns() * widths_.d;
  }

  // --- activations

  // Sum of the ranks of a group of a layer's linears.
  uint64_t RankOf(int64_t layer, const GroupLinears& group) const {
    uint64_t rank = 0;
    for (size_t i = group.first; i < group.first + group.count; ++i) {
      rank += RankOf(layer, i);
    }
    return rank;
  }

  uint64_t RankOf(int64_t layer, size_t linear) const {
    const auto& targets = work_.lora.targets;
    if (std::find(targets.begin(), targets.end(),
                  kLlamaLinears[linear].target) == targets.end()) {
      return 0;
    }
    return U(work_.lora
                 .Of("layers." + std::to_string(layer) + "." +
                     kLlamaLinears[linear].module)
                 .rank);
  }

  // Of one token, what any pass makes and only training keeps a layer.
  uint64_t TraceWidth(int64_t layer) const {
    uint64_t ranks = 0;
    for (const GroupLinears& group : kGroups) ranks += RankOf(layer, group);
    return t_ * (widths_.qkv + widths_.query + 2 * widths_.f + ranks) +
           4 * U(work_.model.heads);
  }

  uint64_t KeptBytes() const {
    const uint64_t m = train_.tokens, layers = U(work_.model.layers);
    const uint64_t stream = 4 * m * widths_.d;
    uint64_t kept = layers * stream;  // what comes into each layer
    if (choice_.recompute) {
      uint64_t widest = 0;
      for (int64_t i = 0; i < work_.model.layers; ++i) {
        widest = std::max(widest, TraceWidth(i));
      }
      // With what comes into the layer and its MLP, and what runs again.
      return kept + 3 * stream + widest * MostTokens();
    }
    kept += layers * stream;  // and into its MLP
    for (int64_t i = 0; i < work_.model.layers; ++i) {
      kept += TraceWidth(i) * (i == 0 ? MostTokens() : m);
    }
    return kept;
  }

  uint64_t WorkingBytes() const {
    const uint64_t m = train_.tokens, most = MostTokens();
    const uint64_t d = widths_.d, f = widths_.f;
    // x, normed, activated, angles; then what only the way back needs.
    uint64_t bytes =
        most * ((4 + t_) * d + t_ * f + 4 * widths_.head) +
        m * ((4 + t_) * d + t_ * widths_.qkv + t_ * std::max(widths_.query, f));
    // Token ids.
    bytes += 4 * most;
    if (work_.int8) {
      const uint64_t widest = std::max({widths_.qkv, 2 * f, d});
      bytes += most * (widest + 4 + 4 * kColumnsApart) +
               4 * kColumnsApart * widest + kInt8Block * U(work_.threads);
    }
    return bytes + LoraBytes();
  }

  // One group's factors as products take them.
  uint64_t LoraBytes() const {
    uint64_t a = 0, b = 0, down = 0;
    for (int64_t layer = 0; layer < work_.model.layers; ++layer) {
      for (const GroupLinears& group : kGroups) {
        const uint64_t rank = RankOf(layer, group);
        uint64_t out = 0;
        for (size_t i = group.first; i < group.first + group.count; ++i) {
          out += U(LlamaLinearShape(work_.model, i).out) * RankOf(layer, i);
        }
        const uint64_t in = U(LlamaLinearShape(work_.model, group.first).in);
        a = std::max(a, rank * in);
        b = std::max(b, out);
        down = std::max(down, rank * train_.tokens);
      }
    }
    return (t_ + 4) * (a + b) + t_ * down;
  }

  uint64_t AttentionBytes() const {
    const auto blocks = [](uint64_t n) {
      return n * std::min(n, kAttentionBlock);
    };
    const uint64_t n = train_.longest, most = std::max(n, score_.longest);
    const uint64_t forward =
        most * (4 * t_ * widths_.head + 4) + (4 + t_) * blocks(most);
    const uint64_t backward =
        n * ((2 * t_ + 8) * widths_.head + 4) + (4 + t_) * blocks(n);
    return U(work_.threads) * (forward + backward);
  }

  uint64_t HeadColumns() const {
    return std::min(kHeadColumns, U(work_.model.vocab));
  }

  uint64_t HeadBytes() const {
    const auto rows = [](uint64_t labels) {
      return std::min(RoundUp(labels, kHeadStep), kHeadLabels);
    };
    const uint64_t n = rows(train_.labels);
    const uint64_t most = std::max(n, rows(score_.labels));
    const uint64_t d = widths_.d;
    return most * ((4 + t_) * d + 4 * HeadColumns() + 16) +
           n * (8 * d + t_ * HeadColumns()) + 4 * d * train_.labels +
           TaughtBytes(n);
  }

  // Of a loss of whole rows of logits: those, and what a thread has beside.
  uint64_t TaughtBytes(uint64_t labels) const {
    if (!work_.taught) return 0;
    const uint64_t vocabulary = U(work_.model.vocab);
    const uint64_t rows =
        std::clamp(kTaughtLogits / vocabulary / kHeadStep * kHeadStep,
                   kHeadStep, kHeadLabels);
    return 4 * vocabulary * (std::min(rows, labels) + 2 * U(work_.threads));
  }

  // --- the adapter

  uint64_t Coordinates() const {
    uint64_t sum = 0;
    for (int64_t layer = 0; layer < work_.model.layers; ++layer) {
      for (size_t i = 0; i < std::size(kLlamaLinears); ++i) {
        const LinearShape shape = LlamaLinearShape(work_.model, i);
        sum += RankOf(layer, i) * U(shape.in + shape.out);
      }
    }
    return sum;
  }

  // Values and gradient of the whole; of what is trained values, gradient, a
  // pass's gradient, the moments, where training began and a correction.
  uint64_t OptimiserBytes() const {
    const uint64_t each = 4 + U(work_.moments) + (work_.corrected ? 1 : 0);
    return 4 * (2 * Coordinates() + each * U(work_.trained));
  }

  const MemoryWork& work_;
  const MemoryChoice& choice_;
  const Widths widths_;
  const uint64_t t_;  // bytes of a number in products
  const Extent train_, score_;
};

}  // namespace

double RelativeTime(const MemoryWork& work, const MemoryChoice& choice) {
  const Extent extent = TrainingExtent(work, choice);
  const double tokens =
      static_cast<double>(extent.all_tokens + kPassTokens * extent.passes);
  return choice.recompute ? kTimeAgain * tokens : tokens;
}

MemoryPrediction PredictMemory(const MemoryWork& work,
                               const MemoryChoice& choice) {
  return Predictor(work, choice).Predict();
}

}  // namespace edgetune
