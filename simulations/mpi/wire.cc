#include "simulations/mpi/wire.h"

#include <cstring>
#include <type_traits>
#include <utility>

#include "absl/strings/cord.h"
#include "base/status.h"

namespace edgetune {
namespace {

// Writes fields to its end, or takes them from its beginning: one list of
// fields for both ways, so that they cannot differ.
class Writer {
 public:
  explicit Writer(LetterKind kind) { Number(kind); }

  template <typename T>
  void Number(const T& value) {
    static_assert(std::is_arithmetic_v<T> || std::is_enum_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <typename T>
  void Choice(T value, T /*last*/) {
    Number(value);
  }
  void Text(const std::string& text) {
    Number(uint64_t{text.size()});
    bytes_ += text;
  }
  template <typename T>
  void Numbers(const std::vector<T>& values) {
    Numbers(std::span<const T>(values));
  }
  template <typename T>
  void Numbers(std::span<const T> values) {
    Number(uint64_t{values.size()});
    bytes_.append(reinterpret_cast<const char*>(values.data()),
                  values.size() * sizeof(T));
  }
  std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class Reader {
 public:
  // After the kind.
  explicit Reader(std::string_view letter) : rest_(letter) {
    LetterKind kind;
    Number(kind);
  }

  template <typename T>
  void Number(T& value) {
    static_assert(std::is_arithmetic_v<T> || std::is_enum_v<T>);
    if constexpr (std::is_same_v<T, bool>) {
      uint8_t byte = 0;
      Number(byte);
      if (byte > 1) whole_ = false;
      value = byte == 1;
    } else {
      const std::string_view bytes = Bytes(sizeof value);
      if (!whole_) return;
      std::memcpy(&value, bytes.data(), sizeof value);
    }
  }
  // One of the first so many of an enumeration.
  template <typename T>
  void Choice(T& value, T last) {
    std::underlying_type_t<T> number = 0;
    Number(number);
    if (number < 0 || number > std::underlying_type_t<T>(last)) whole_ = false;
    if (whole_) value = static_cast<T>(number);
  }
  void Text(std::string& text) {
    uint64_t size = 0;
    Number(size);
    text = std::string(Bytes(size));
  }
  template <typename T>
  void Numbers(std::vector<T>& values) {
    uint64_t count = 0;
    Number(count);
    if (count > rest_.size() / sizeof(T)) whole_ = false;
    if (!whole_) return;
    const std::string_view bytes = Bytes(count * sizeof(T));
    values.resize(count);
    if (count > 0) std::memcpy(values.data(), bytes.data(), bytes.size());
  }
  // Nothing was missing, nothing is left.
  absl::Status Finish(const char* what) const {
    if (whole_ && rest_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        std::string("a letter between ranks is no ") + what);
  }
  bool whole() const { return whole_; }

 private:
  std::string_view Bytes(uint64_t count) {
    if (!whole_ || count > rest_.size()) {
      whole_ = false;
      return {};
    }
    const std::string_view bytes = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return bytes;
  }

  std::string_view rest_;
  bool whole_ = true;
};

// Code, message, and kind and hint where it has them.
void PutStatus(Writer& to, const absl::Status& status) {
  to.Number(static_cast<int32_t>(status.raw_code()));
  to.Text(std::string(status.message()));
  std::vector<std::pair<std::string, std::string>> payloads;
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    payloads.emplace_back(url, payload);
  });
  to.Number(uint64_t{payloads.size()});
  for (const auto& [url, payload] : payloads) {
    to.Text(url);
    to.Text(payload);
  }
}

absl::Status TakeStatus(Reader& from) {
  int32_t code = 0;
  std::string message;
  uint64_t payloads = 0;
  from.Number(code);
  from.Text(message);
  from.Number(payloads);
  absl::Status status(static_cast<absl::StatusCode>(code), message);
  for (; payloads > 0 && from.whole(); --payloads) {
    std::string url, payload;
    from.Text(url);
    from.Text(payload);
    status.SetPayload(url, absl::Cord(payload));
  }
  return status;
}

// `Fields` is Writer or Reader, the struct const or not.
template <typename Fields, typename Options>
void EachOption(Fields& fields, Options& options) {
  fields.Choice(options.precision, Precision::kInt8);
  fields.Number(options.threads);
  fields.Choice(options.weights, WeightMemory::kCopied);
  fields.Number(options.recompute);
}

template <typename Fields, typename Config>
void EachSetting(Fields& fields, Config& config) {
  fields.Number(config.lr);
  fields.Number(config.steps);
  fields.Number(config.epochs);
  fields.Number(config.batch);
  fields.Number(config.micro_batch);
  fields.Choice(config.schedule, Schedule::kCosine);
  fields.Number(config.warmup);
  fields.Number(config.grad_clip);
  fields.Choice(config.optimizer, OptimizerKind::kSgd);
  fields.Number(config.momentum);
  fields.Number(config.weight_decay);
  fields.Number(config.prox_mu);
  fields.Number(config.teacher_alpha);
  fields.Number(config.seed);
  fields.Number(config.round);
  fields.Number(config.rounds);
  fields.Choice(config.factors, Factors::kCore);
  fields.Number(config.frozen_rank);
}

template <typename Fields, typename OneCall>
void EachOfCall(Fields& fields, OneCall& call) {
  fields.Number(call.id);
  fields.Number(call.train);
  EachOption(fields, call.options);
  fields.Number(call.same_adapter);
  fields.Numbers(call.adapter);
  fields.Number(call.adapter_rank);
  EachSetting(fields, call.config);
  fields.Numbers(call.correction);
}

template <typename Fields, typename OneAnswer>
void EachOfAnswer(Fields& fields, OneAnswer& answer) {
  fields.Number(answer.id);
  fields.Number(answer.evaluation.nll_sum);
  fields.Number(answer.evaluation.tokens);
  fields.Number(answer.evaluation.correct);
  auto& training = answer.training;
  fields.Numbers(training.delta);
  fields.Number(training.first_loss);
  fields.Number(training.last_loss);
  fields.Number(training.steps);
  fields.Number(training.resumed);
  fields.Number(training.tokens);
  fields.Number(training.seconds);
  fields.Number(training.stopped);
}

template <typename Fields, typename OneHello>
void EachOfHello(Fields& fields, OneHello& hello) {
  fields.Text(hello.host);
  fields.Text(hello.processor);
  fields.Text(hello.program);
  fields.Text(hello.base);
  fields.Text(hello.plan);
  fields.Text(hello.engine);
  fields.Number(hello.bf16);
  fields.Number(hello.workers);
}

}  // namespace

std::string MakeLetter(LetterKind kind) { return Writer(kind).Take(); }

absl::StatusOr<LetterKind> LetterKindOf(std::string_view letter) {
  if (letter.empty() || static_cast<uint8_t>(letter[0]) >
                            static_cast<uint8_t>(LetterKind::kBye)) {
    return absl::InvalidArgumentError(
        "a letter between ranks of no known kind");
  }
  return static_cast<LetterKind>(letter[0]);
}

std::string FormatHello(const Hello& hello) {
  Writer to(LetterKind::kHello);
  EachOfHello(to, hello);
  PutStatus(to, hello.ready);
  return to.Take();
}

absl::StatusOr<Hello> ParseHello(std::string_view letter) {
  Reader from(letter);
  Hello hello;
  EachOfHello(from, hello);
  hello.ready = TakeStatus(from);
  EDGETUNE_RETURN_IF_ERROR(from.Finish("greeting"));
  return hello;
}

std::string FormatCall(const Call& call) {
  Writer to(LetterKind::kCall);
  EachOfCall(to, call);
  to.Number(uint64_t{call.examples.size()});
  for (const LabelledTokens& example : call.examples) {
    to.Numbers(example.tokens);
    to.Numbers(example.labelled);
    to.Numbers(example.image);
  }
  return to.Take();
}

absl::StatusOr<Call> ParseCall(std::string_view letter) {
  Reader from(letter);
  Call call;
  EachOfCall(from, call);
  uint64_t examples = 0;
  from.Number(examples);
  for (; examples > 0 && from.whole(); --examples) {
    LabelledTokens& example = call.examples.emplace_back();
    from.Numbers(example.tokens);
    from.Numbers(example.labelled);
    from.Numbers(call.pixels.emplace_back());
    example.image = call.pixels.back();
    if (example.tokens.size() != example.labelled.size()) {
      return absl::InvalidArgumentError("an example with a label too many");
    }
  }
  EDGETUNE_RETURN_IF_ERROR(from.Finish("call"));
  return call;
}

std::string FormatStop(uint64_t id) {
  Writer to(LetterKind::kStop);
  to.Number(id);
  return to.Take();
}

absl::StatusOr<uint64_t> ParseStop(std::string_view letter) {
  Reader from(letter);
  uint64_t id = 0;
  from.Number(id);
  EDGETUNE_RETURN_IF_ERROR(from.Finish("stop"));
  return id;
}

std::string FormatAnswer(const Answer& answer) {
  Writer to(LetterKind::kAnswer);
  EachOfAnswer(to, answer);
  PutStatus(to, answer.status);
  return to.Take();
}

absl::StatusOr<Answer> ParseAnswer(std::string_view letter) {
  Reader from(letter);
  Answer answer;
  EachOfAnswer(from, answer);
  answer.status = TakeStatus(from);
  EDGETUNE_RETURN_IF_ERROR(from.Finish("answer"));
  return answer;
}

}  // namespace edgetune
