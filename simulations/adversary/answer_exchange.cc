#include "simulations/adversary/answer_exchange.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/status.h"
#include "training/example_encoder.h"
#include "training/json_example.h"

namespace edgetune {
namespace {

// Where the answer begins: at the first labelled token.
std::ptrdiff_t AnswerOf(const LabelledTokens& example) {
  return std::find(example.labelled.begin(), example.labelled.end(), 1) -
         example.labelled.begin();
}

LabelledTokens Join(const LabelledTokens& question,
                    const LabelledTokens& answer, int64_t max_length) {
  const std::ptrdiff_t prompt = AnswerOf(question), from = AnswerOf(answer);
  LabelledTokens joined;
  joined.image = question.image;
  joined.tokens.assign(question.tokens.begin(),
                       question.tokens.begin() + prompt);
  joined.labelled.assign(static_cast<size_t>(prompt), 0);
  joined.tokens.insert(joined.tokens.end(), answer.tokens.begin() + from,
                       answer.tokens.end());
  joined.labelled.insert(joined.labelled.end(), answer.labelled.begin() + from,
                         answer.labelled.end());
  const size_t size =
      std::min(joined.tokens.size(), static_cast<size_t>(max_length));
  joined.tokens.resize(size);
  joined.labelled.resize(size);
  return joined;
}

}  // namespace

std::vector<size_t> CyclicPermutation(size_t n, Random random) {
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = n; i > 1; --i) {
    std::swap(order[i - 1], order[random.Below(i - 1)]);
  }
  return order;
}

absl::StatusOr<std::unique_ptr<ExampleSet>> ExchangeAnswers(
    const ExampleSet& examples, int64_t max_length, Random random) {
  if (examples.report().schema == NameOf(TextSchema::kText)) {
    return Annotate(
        absl::InvalidArgumentError(
            "simulation.adversary = \"label_flip\" exchanges answers, and "
            "examples of the schema \"text\" have none"),
        ErrorKind::kData, "take chats or prompts and completions");
  }
  const std::vector<size_t> from =
      CyclicPermutation(static_cast<size_t>(examples.size()), random);
  std::vector<LabelledTokens> exchanged;
  for (int64_t i = 0; i < examples.size(); ++i) {
    const LabelledTokens& own = examples.Get(i);
    const auto other = static_cast<int64_t>(from[static_cast<size_t>(i)]);
    LabelledTokens joined = Join(own, examples.Get(other), max_length);
    exchanged.push_back(PredictedLabels(joined) > 0 ? std::move(joined) : own);
  }
  return examples.WithExamples(std::move(exchanged));
}

}  // namespace edgetune
