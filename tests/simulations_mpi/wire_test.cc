// Letters between ranks: every field comes back, and what is no letter is
// refused, whatever its bytes.

#include "simulations/mpi/wire.h"

#include <gtest/gtest.h>
#include <algorithm>

#include <cmath>
#include <limits>

#include "base/random.h"
#include "base/status.h"

namespace edgetune {
namespace {

Call SampleCall() {
  Call call;
  call.id = 7;
  call.train = true;
  call.options = {.precision = Precision::kInt8,
                  .threads = 3,
                  .weights = WeightMemory::kCopied,
                  .recompute = true};
  call.adapter = {1.5f, -0.0f, std::numeric_limits<float>::denorm_min()};
  static constexpr uint8_t kPixels[] = {0, 7, 255};
  call.adapter_rank = 2;
  call.examples = {{{1, 2, 3}, {0, 1, 1}}, {{4}, {1}, kPixels}, {{}, {}}};
  TrainConfig& config = call.config;
  config.lr = 0.25;
  config.steps = 11;
  config.epochs = 2;
  config.batch = 5;
  config.micro_batch = 3;
  config.schedule = Schedule::kCosine;
  config.warmup = 4;
  config.grad_clip = 0.5;
  config.optimizer = OptimizerKind::kSgd;
  config.momentum = 0.9;
  config.weight_decay = 0.01;
  config.prox_mu = 0.125;
  config.teacher_alpha = 0.75;
  config.seed = 1ull << 63;
  config.round = 6;
  config.rounds = 9;
  config.factors = Factors::kCore;
  config.frozen_rank = 3;
  call.correction = {0.75f};
  return call;
}

Answer SampleAnswer() {
  Answer answer;
  answer.id = 8;
  answer.evaluation = {.nll_sum = 3.25, .tokens = 17, .correct = 5};
  answer.training.delta = {0.5f, -2.0f};
  answer.training.first_loss = 4;
  answer.training.last_loss = 3;
  answer.training.steps = 10;
  answer.training.resumed = 1;
  answer.training.tokens = 999;
  answer.training.seconds = 1.5;
  answer.training.stopped = true;
  return answer;
}

Hello SampleHello() {
  return {.host = "node7",
          .processor = "a processor",
          .program = std::string("\0\1", 2),
          .base = "base",
          .plan = "plan",
          .engine = "fused",
          .bf16 = true,
          .workers = 12,
          .ready = absl::OkStatus()};
}

TEST(WireTest, ACallComesBackWithEveryField) {
  const Call sent = SampleCall();
  const auto got = ParseCall(FormatCall(sent));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->id, 7u);
  EXPECT_TRUE(got->train);
  EXPECT_EQ(EngineKeyOf(got->options), EngineKeyOf(sent.options));
  EXPECT_FALSE(got->same_adapter);
  ASSERT_EQ(got->adapter, sent.adapter);
  EXPECT_EQ(got->adapter_rank, 2);
  EXPECT_TRUE(std::signbit(got->adapter[1]));
  ASSERT_EQ(got->examples.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(got->examples[i].tokens, sent.examples[i].tokens);
    EXPECT_EQ(got->examples[i].labelled, sent.examples[i].labelled);
    EXPECT_TRUE(
        std::ranges::equal(got->examples[i].image, sent.examples[i].image));
  }
  const TrainConfig& config = got->config;
  EXPECT_EQ(config.lr, 0.25);
  EXPECT_EQ(config.steps, 11);
  EXPECT_EQ(config.epochs, 2);
  EXPECT_EQ(config.batch, 5);
  EXPECT_EQ(config.micro_batch, 3);
  EXPECT_EQ(config.schedule, Schedule::kCosine);
  EXPECT_EQ(config.warmup, 4);
  EXPECT_EQ(config.grad_clip, 0.5);
  EXPECT_EQ(config.optimizer, OptimizerKind::kSgd);
  EXPECT_EQ(config.momentum, 0.9);
  EXPECT_EQ(config.weight_decay, 0.01);
  EXPECT_EQ(config.prox_mu, 0.125);
  EXPECT_EQ(config.teacher_alpha, 0.75);
  EXPECT_EQ(config.seed, 1ull << 63);
  EXPECT_EQ(config.round, 6);
  EXPECT_EQ(config.rounds, 9);
  EXPECT_EQ(config.factors, Factors::kCore);
  EXPECT_EQ(config.frozen_rank, 3);
  EXPECT_EQ(got->correction, sent.correction);
}

TEST(WireTest, AnAnswerComesBackWithEveryField) {
  const Answer sent = SampleAnswer();
  const auto got = ParseAnswer(FormatAnswer(sent));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->id, 8u);
  EXPECT_TRUE(got->status.ok());
  EXPECT_EQ(got->evaluation.nll_sum, 3.25);
  EXPECT_EQ(got->evaluation.tokens, 17);
  EXPECT_EQ(got->evaluation.correct, 5);
  EXPECT_EQ(got->training.delta, sent.training.delta);
  EXPECT_EQ(got->training.first_loss, 4);
  EXPECT_EQ(got->training.last_loss, 3);
  EXPECT_EQ(got->training.steps, 10);
  EXPECT_EQ(got->training.resumed, 1);
  EXPECT_EQ(got->training.tokens, 999);
  EXPECT_EQ(got->training.seconds, 1.5);
  EXPECT_TRUE(got->training.stopped);
}

TEST(WireTest, AnErrorKeepsItsCodeKindAndHint) {
  Answer answer;
  answer.status = Annotate(absl::AbortedError("the loss is not finite"),
                           ErrorKind::kData, "look at the data");
  const auto got = ParseAnswer(FormatAnswer(answer));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->status, answer.status);
  EXPECT_EQ(KindOf(got->status), ErrorKind::kData);
  EXPECT_EQ(HintOf(got->status), "look at the data");
}

TEST(WireTest, AGreetingComesBackWithEveryField) {
  Hello sent = SampleHello();
  sent.ready = absl::NotFoundError("no model");
  const auto got = ParseHello(FormatHello(sent));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->host, sent.host);
  EXPECT_EQ(got->processor, sent.processor);
  EXPECT_EQ(got->program, sent.program);
  EXPECT_EQ(got->base, sent.base);
  EXPECT_EQ(got->plan, sent.plan);
  EXPECT_EQ(got->engine, sent.engine);
  EXPECT_TRUE(got->bf16);
  EXPECT_EQ(got->workers, 12u);
  EXPECT_EQ(got->ready, sent.ready);
}

TEST(WireTest, KindsAreTold) {
  EXPECT_EQ(*LetterKindOf(FormatHello(SampleHello())), LetterKind::kHello);
  EXPECT_EQ(*LetterKindOf(FormatCall(SampleCall())), LetterKind::kCall);
  EXPECT_EQ(*LetterKindOf(FormatAnswer(SampleAnswer())), LetterKind::kAnswer);
  EXPECT_EQ(*LetterKindOf(FormatStop(1)), LetterKind::kStop);
  for (const auto kind : {LetterKind::kBeat, LetterKind::kEnd,
                          LetterKind::kQuit, LetterKind::kBye}) {
    EXPECT_EQ(*LetterKindOf(MakeLetter(kind)), kind);
  }
  EXPECT_FALSE(LetterKindOf("").ok());
  EXPECT_FALSE(LetterKindOf("\x08").ok());
  EXPECT_FALSE(LetterKindOf("\xff").ok());
  EXPECT_EQ(*ParseStop(FormatStop(1ull << 40)), 1ull << 40);
}

// Whatever is not whole, or longer than it should be.
template <typename Parse>
void ExpectOnlyTheWhole(const std::string& letter, Parse parse) {
  ASSERT_TRUE(parse(letter).ok());
  for (size_t size = 0; size < letter.size(); ++size) {
    const auto got = parse(letter.substr(0, size));
    EXPECT_EQ(got.status().code(), absl::StatusCode::kInvalidArgument) << size;
  }
  EXPECT_FALSE(parse(letter + "x").ok());
}

TEST(WireTest, ALetterThatIsCutOrTooLongIsRefused) {
  ExpectOnlyTheWhole(FormatCall(SampleCall()), ParseCall);
  ExpectOnlyTheWhole(FormatAnswer(SampleAnswer()), ParseAnswer);
  ExpectOnlyTheWhole(FormatHello(SampleHello()), ParseHello);
  ExpectOnlyTheWhole(FormatStop(3), ParseStop);
}

TEST(WireTest, AnExampleWithoutALabelForEachTokenIsRefused) {
  Call call = SampleCall();
  call.examples[0].labelled.pop_back();
  EXPECT_FALSE(ParseCall(FormatCall(call)).ok());
}

TEST(WireTest, NamesOutsideAnEnumerationAreRefused) {
  Call call = SampleCall();
  call.options.precision = static_cast<Precision>(4);
  EXPECT_FALSE(ParseCall(FormatCall(call)).ok());
  call = SampleCall();
  call.options.weights = static_cast<WeightMemory>(2);
  EXPECT_FALSE(ParseCall(FormatCall(call)).ok());
  call = SampleCall();
  call.config.schedule = static_cast<Schedule>(-1);
  EXPECT_FALSE(ParseCall(FormatCall(call)).ok());
  call = SampleCall();
  call.config.optimizer = static_cast<OptimizerKind>(2);
  EXPECT_FALSE(ParseCall(FormatCall(call)).ok());
  call = SampleCall();
  call.config.factors = static_cast<Factors>(4);
  EXPECT_FALSE(ParseCall(FormatCall(call)).ok());
}

// Any byte may be another: never more memory than the letter has, nothing read
// beyond it (with AddressSanitizer).
TEST(WireTest, DamagedLettersAreParsedOrRefused) {
  Random random(1);
  const std::string letters[] = {FormatCall(SampleCall()),
                                 FormatAnswer(SampleAnswer()),
                                 FormatHello(SampleHello())};
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string letter = letters[i % 3];
    for (int change = 0; change < 3; ++change) {
      letter[random.Next() % letter.size()] = static_cast<char>(random.Next());
    }
    const bool ok = i % 3 == 0   ? ParseCall(letter).ok()
                    : i % 3 == 1 ? ParseAnswer(letter).ok()
                                 : ParseHello(letter).ok();
    refused += ok ? 0 : 1;
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace edgetune
