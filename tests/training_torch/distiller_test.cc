// Students of models of texts: gradients in every weight against transformers
// (make_student_vectors.py), and what training them does.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "models/io/text_weights.h"
#include "tests/training/memory_checkpoints.h"
#include "training/distillation/targets.h"
#include "training/torch/lora_trainer.h"
#include "training/torch/torch_distiller.h"
#include "training/torch/torch_teacher.h"

namespace edgetune {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using testing::MemoryCheckpoints;

const json& StudentVectors() {
  static const auto& all = *new json(
      json::parse(std::ifstream(std::string(EDGETUNE_SOURCE_DIR) +
                                "/tests/training_torch/vectors/student.json")));
  return all;
}

ModelConfig ShapeOf(const std::string& architecture, const json& shape) {
  ModelConfig c;
  c.architecture = architecture;
  c.qkv_bias = architecture == "qwen2";
  c.hidden = shape["hidden_size"];
  c.ffn = shape["intermediate_size"];
  c.layers = shape["num_hidden_layers"];
  c.heads = shape["num_attention_heads"];
  c.kv_heads = shape["num_key_value_heads"];
  c.head_dim = c.hidden / c.heads;
  c.vocab = StudentVectors()["vocabulary"];
  c.context = 32;
  c.rms_eps = 1e-5;
  c.rope_theta = 10000;
  c.tied = shape["tie_word_embeddings"];
  return c;
}

// The maker's model_of().
ParameterVector FormulaWeightsOf(const ParameterLayout& layout, uint64_t seed) {
  ParameterVector values;
  for (const ParameterLayout::Tensor& tensor : layout.tensors()) {
    for (uint64_t i = 0; i < tensor.count; ++i) {
      const uint64_t draw =
          ((i + seed) * 2654435761u + 12345) % (uint64_t{1} << 32);
      const double unit = static_cast<double>(draw) / 0x1p31 - 1;
      const double value =
          tensor.shape.size() == 2
              ? unit / std::sqrt(static_cast<double>(tensor.shape[1]))
              : unit / 4 + (tensor.name.ends_with("bias") ? 0 : 1);
      values.push_back(static_cast<float>(value));
    }
  }
  return values;
}

// A model in memory. Of its tokens nobody asks.
class FlatModel final : public ModelFile {
 public:
  FlatModel(ModelConfig config, uint64_t seed)
      : config_(std::move(config)),
        layout_(*TextLayoutOf(config_)),
        values_(FormulaWeightsOf(layout_, seed)),
        source_(MakeTextSource(layout_, values_)) {}

  const std::vector<TensorInfo>& tensors() const override {
    return source_->tensors();
  }
  absl::Status ReadRows(const std::string& name, int64_t begin, int64_t end,
                        std::span<float> out) const override {
    return source_->ReadRows(name, begin, end, out);
  }
  void Release(const std::string&) const override {}
  const ModelConfig& config() const override { return config_; }
  const Tokenizer& tokenizer() const override { std::abort(); }
  const ChatTemplate& chat_template() const override { std::abort(); }

 private:
  const ModelConfig config_;
  const ParameterLayout layout_;
  const ParameterVector values_;
  const std::unique_ptr<TensorSource> source_;
};

class Texts final : public ExampleSource {
 public:
  // Those of the maker.
  Texts() {
    for (const json& one : StudentVectors()["examples"]) {
      Add(one["tokens"].get<std::vector<int32_t>>(), one["from"]);
    }
  }
  explicit Texts(std::vector<LabelledTokens> examples)
      : examples_(std::move(examples)) {}
  void Add(std::vector<int32_t> tokens, size_t from) {
    LabelledTokens& example = examples_.emplace_back();
    example.labelled.resize(tokens.size());
    std::fill(example.labelled.begin() + static_cast<std::ptrdiff_t>(from),
              example.labelled.end(), 1);
    example.tokens = std::move(tokens);
  }
  int64_t size() const override {
    return static_cast<int64_t>(examples_.size());
  }
  const LabelledTokens& Get(int64_t index) const override {
    return examples_[static_cast<size_t>(index)];
  }
  const TeacherTargets* targets() const override { return taught; }
  int64_t FirstTarget(int64_t index) const override {
    return PositionsBefore(*this, index);
  }

  const TeacherTargets* taught = nullptr;  // what targets() says

 private:
  std::vector<LabelledTokens> examples_;
};

class DistillerTest : public ::testing::Test {
 protected:
  DistillerTest()
      : teacher_(std::make_shared<FlatModel>(
            ShapeOf("llama", StudentVectors()["teacher"]), 77)) {
    Use(StudentVectors()["cases"][0]);
  }

  void Use(const json& given) {
    student_ = ShapeOf(given["architecture"], given["shape"]);
    layout_ = *TextLayoutOf(student_);
    weights_ = FormulaWeightsOf(layout_, 1);
    distiller_ = Make({});
  }
  std::unique_ptr<TorchDistiller> Make(std::vector<int32_t> tokens) {
    auto made =
        TorchDistiller::Make(teacher_, student_, std::move(tokens),
                             {.precision = Precision::kFp32, .threads = 1});
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  }
  std::unique_ptr<Teacher> MakeTeacher() {
    auto made = MakeTorchTeacher(teacher_, student_, {},
                                 {.precision = Precision::kFp32, .threads = 1});
    EXPECT_TRUE(made.ok()) << made.status();
    return *std::move(made);
  }
  DistillationConfig Config() const {
    return {.temperature = StudentVectors()["temperature"],
            .alpha = StudentVectors()["alpha"]};
  }
  static TrainConfig Steps(int64_t steps) {
    TrainConfig train;
    train.lr = 5e-3;
    train.steps = steps;
    train.batch = 2;
    train.micro_batch = 1;
    train.schedule = Schedule::kCosine;
    train.warmup = 2;
    return train;
  }
  absl::StatusOr<DistilledStudent> Train(const TrainConfig& train,
                                         const DistillationConfig& config,
                                         const TeacherTargets* targets = {},
                                         CheckpointStore* checkpoints = {}) {
    texts_.taught = targets;
    return distiller_->Train(weights_, texts_, train, config, {}, checkpoints,
                             stop_, {});
  }
  absl::StatusOr<BatchGradient> Gradient(
      const DistillationConfig& config,
      const TeacherTargets* targets = nullptr) {
    texts_.taught = targets;
    return distiller_->ComputeGradient(weights_, texts_, 2, config);
  }
  HeldTargets TargetsOf(int64_t k, double temperature = 2) {
    HeldTargets targets(temperature, k);
    const auto status =
        MakeTeacher()->ComputeTargets(texts_, temperature, k,
                                      [&](const TopTokens& row) {
                                        targets.Append(row);
                                        return absl::OkStatus();
                                      },
                                      stop_, {});
    EXPECT_TRUE(status.ok()) << status;
    return targets;
  }
  void ExpectGradientOf(const json& given, const ParameterVector& gradient) {
    ASSERT_EQ(gradient.size(), layout_.size());
    ASSERT_EQ(layout_.tensors().size(), given["tensors"].size());
    for (const json& wanted : given["tensors"]) {
      const auto found = std::ranges::find(layout_.tensors(),
                                           wanted["name"].get<std::string>(),
                                           &ParameterLayout::Tensor::name);
      ASSERT_NE(found, layout_.tensors().end()) << wanted["name"];
      EXPECT_EQ(found->shape, wanted["shape"].get<std::vector<int64_t>>());
      double squares = 0;
      for (size_t i = 0; i < found->count; ++i) {
        squares += std::pow(gradient[found->offset + i], 2);
      }
      const auto norm = wanted["norm"].get<double>();
      EXPECT_NEAR(std::sqrt(squares), norm, 2e-5 * norm) << found->name;
      const auto step = wanted["step"].get<size_t>();
      const auto samples = wanted["gradient"].get<std::vector<double>>();
      ASSERT_GE(samples.size(), 8);
      for (size_t i = 0; i < samples.size(); ++i) {
        EXPECT_NEAR(gradient[found->offset + i * step], samples[i], 2e-5 * norm)
            << found->name << " at " << i * step;
      }
    }
  }

  const std::shared_ptr<const ModelFile> teacher_;
  ModelConfig student_;
  ParameterLayout layout_;
  ParameterVector weights_;
  std::unique_ptr<TorchDistiller> distiller_;
  Texts texts_;
  StopToken stop_{false};
};

TEST_F(DistillerTest, LossAndGradientOfEveryWeightAreThoseOfTransformers) {
  ASSERT_EQ(StudentVectors()["cases"].size(), 3);
  for (const json& given : StudentVectors()["cases"]) {
    Use(given);
    const auto got = Gradient(Config());
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(got->labelled, given["labelled"].get<int64_t>());
    const auto loss = given["loss"].get<double>();
    EXPECT_NEAR(got->nll_sum, loss, 1e-5 * loss);
    ExpectGradientOf(given, got->gradient);
    const auto own = distiller_->Evaluate(weights_, texts_, 0, stop_);
    ASSERT_TRUE(own.ok()) << own.status();
    EXPECT_NEAR(own->nll_sum, given["nll"].get<double>(), 1e-4);
    EXPECT_EQ(own->tokens, got->labelled);
  }
  const auto teacher = MakeTeacher()->Evaluate(texts_, 0, stop_);
  ASSERT_TRUE(teacher.ok()) << teacher.status();
  EXPECT_NEAR(teacher->nll_sum, StudentVectors()["teacher_nll"].get<double>(),
              1e-4);
}

TEST_F(DistillerTest, CachedTargetsOfAllTokensAreTheTeacher) {
  const HeldTargets targets = TargetsOf(student_.vocab);
  const auto live = Gradient(Config());
  const auto cached = Gradient(Config(), &targets);
  ASSERT_TRUE(live.ok() && cached.ok()) << cached.status();
  EXPECT_NEAR(cached->nll_sum, live->nll_sum, 1e-5);
  ASSERT_EQ(cached->gradient.size(), live->gradient.size());
  for (size_t i = 0; i < live->gradient.size(); ++i) {
    ASSERT_NEAR(cached->gradient[i], live->gradient[i], 1e-6) << i;
  }
}

// Examples come in another order than that of the targets.
TEST_F(DistillerTest, TrainingOnTargetsOfAllTokensIsTrainingOnTheTeacher) {
  const HeldTargets targets = TargetsOf(student_.vocab);
  const auto live = Train(Steps(5), Config());
  const auto cached = Train(Steps(5), Config(), &targets);
  ASSERT_TRUE(live.ok() && cached.ok()) << cached.status();
  EXPECT_NEAR(cached->result.last_loss, live->result.last_loss, 1e-4);
}

TEST_F(DistillerTest, AStudentLearnsFromItsTeacherAlone) {
  DistillationConfig config = Config();
  config.alpha = 1;
  for (const int64_t k : {0, 8}) {
    const HeldTargets targets = TargetsOf(8);
    const auto trained = Train(Steps(60), config, k == 0 ? nullptr : &targets);
    ASSERT_TRUE(trained.ok()) << trained.status();
    EXPECT_LT(trained->result.last_loss, 0.2 * trained->result.first_loss) << k;
    EXPECT_EQ(trained->weights.size(), weights_.size());
    EXPECT_TRUE(trained->result.delta.empty());
  }
}

TEST_F(DistillerTest, HeldOutExamplesAreScoredOnTheWay) {
  std::vector<std::pair<int64_t, double>> seen;
  const HeldOut held_out = {.examples = &texts_,
                            .every = 10,
                            .most = 0,
                            .measured = [&](int64_t step, const Evaluation& e) {
                              seen.emplace_back(step, PerplexityOf(e));
                            }};
  const auto trained = distiller_->Train(
      weights_, texts_, Steps(30), {.alpha = 0}, held_out, nullptr, stop_, {});
  ASSERT_TRUE(trained.ok()) << trained.status();
  ASSERT_EQ(seen.size(), 3);
  EXPECT_EQ(seen[0].first, 10);
  EXPECT_LT(seen[2].second, seen[0].second);
  const auto after = distiller_->Evaluate(trained->weights, texts_, 0, stop_);
  ASSERT_TRUE(after.ok());
  EXPECT_NEAR(PerplexityOf(*after), seen[2].second, 1e-5);
}

// Widths 16 and 24: through a projection, trained and thrown away.
TEST_F(DistillerTest, HiddenStatesComeNearerToTheTeachers) {
  const DistillationConfig config = {
      .temperature = 1, .alpha = 0, .entropy = 0, .hidden = 1};
  const auto trained = Train(Steps(80), config);
  const auto without = Train(Steps(80), {.temperature = 1, .alpha = 0});
  ASSERT_TRUE(trained.ok() && without.ok()) << trained.status();
  EXPECT_LT(trained->result.last_loss, 0.7 * trained->result.first_loss);
  EXPECT_EQ(trained->weights.size(), weights_.size());
  EXPECT_NE(trained->weights, without->weights);
}

TEST_F(DistillerTest, GoesOnAfterAStopToTheSameBits) {
  for (const double hidden : {0.0, 0.5}) {
    DistillationConfig config = Config();
    config.hidden = hidden;
    const auto whole = Train(Steps(7), config);
    ASSERT_TRUE(whole.ok()) << whole.status();
    MemoryCheckpoints store;
    StopToken stop{false};
    const auto begun = distiller_->Train(
        weights_, texts_, Steps(7), config, {}, &store, stop,
        [&](const TrainProgress& at) { stop = at.step == 3; });
    ASSERT_TRUE(begun.ok() && begun->result.stopped) << begun.status();
    EXPECT_NE(begun->weights, whole->weights);
    const auto rest = Train(Steps(7), config, nullptr, &store);
    ASSERT_TRUE(rest.ok()) << rest.status();
    EXPECT_THAT(store.resumed, ::testing::ElementsAre(3));
    EXPECT_EQ(rest->weights, whole->weights);
    EXPECT_EQ(rest->result.last_loss, whole->result.last_loss);
    // Of another temperature nothing is resumed.
    config.temperature = 3;
    ASSERT_TRUE(Train(Steps(7), config, nullptr, &store).ok());
    EXPECT_EQ(store.refused.size(), 1);
  }
}

TEST_F(DistillerTest, ZerosStayWhereTheyAreToBeKept) {
  for (size_t i = 0; i < weights_.size(); i += 3) weights_[i] = 0;
  DistillationConfig config = Config();
  TrainConfig train = Steps(4);
  train.weight_decay = 0.1;
  const auto moved = [&](bool keep) {
    config.keep_zeros = keep;
    const auto done = Train(train, config);
    EXPECT_TRUE(done.ok()) << done.status();
    size_t zeros = 0, others = 0;
    for (size_t i = 0; i < weights_.size(); ++i) {
      const bool changed = done->weights[i] != weights_[i];
      (i % 3 == 0 ? zeros : others) += changed ? 1 : 0;
    }
    return std::pair(zeros, others);
  };
  const auto [zeros, others] = moved(true);
  EXPECT_EQ(zeros, 0u);
  EXPECT_GT(others, weights_.size() / 2);
  EXPECT_GT(moved(false).first, weights_.size() / 6);
}

TEST_F(DistillerTest, WhatDoesNotFitIsRefusedByName) {
  const auto refused = [&](const absl::Status& status, const char* words) {
    EXPECT_THAT(std::string(status.message()), HasSubstr(words));
    return status.code();
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::pair<DistillationConfig, const char*> configs[] = {
      {{.temperature = 0}, "temperature must lie"},
      {{.temperature = nan}, "temperature must lie"},
      {{.alpha = 1.5}, "alpha must lie"},
      {{.entropy = -1}, "entropy must lie"},
      {{.hidden = nan}, "hidden must lie"}};
  for (const auto& [config, words] : configs) {
    EXPECT_EQ(refused(Train(Steps(1), config).status(), words),
              absl::StatusCode::kInvalidArgument);
  }
  const HeldTargets targets = TargetsOf(4);
  EXPECT_EQ(refused(Train(Steps(1), {.temperature = 3}, &targets).status(),
                    "at temperature 2"),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(refused(Train(Steps(1), {.hidden = 1}, &targets).status(),
                    "not with a cache"),
            absl::StatusCode::kFailedPrecondition);
  const HeldTargets none(2, 4);
  EXPECT_EQ(refused(Train(Steps(1), Config(), &none).status(),
                    "the teacher spoke at 0 positions"),
            absl::StatusCode::kFailedPrecondition);
  weights_.pop_back();
  EXPECT_EQ(refused(Train(Steps(1), Config()).status(), "weights"),
            absl::StatusCode::kInvalidArgument);
  student_.vocab = 39;
  for (const auto& tokens :
       {std::vector<int32_t>(), std::vector<int32_t>(39, 40)}) {
    EXPECT_EQ(
        refused(TorchDistiller::Make(teacher_, student_, tokens, {}).status(),
                "does not fit"),
        absl::StatusCode::kInvalidArgument);
  }
}

// The gradient of a factor B [out,r] that is 0 is scale times that of the
// weights [out,in] times A [r,in] transposed.
TEST_F(DistillerTest, AnAdapterLearnsFromTargetsAsTheWholeStudentDoes) {
  const HeldTargets targets = TargetsOf(6);
  const auto whole = Gradient(Config(), &targets);
  ASSERT_TRUE(whole.ok()) << whole.status();
  const auto trainer =
      LoraTrainer::Make(std::make_shared<FlatModel>(student_, 1),
                        {.precision = Precision::kFp32, .threads = 1});
  ASSERT_TRUE(trainer.ok()) << trainer.status();
  Adapter adapter;
  adapter.spec = {.rank = 2, .alpha = 6, .targets = {"q_proj", "down_proj"}};
  adapter.layout = *AdapterLayoutOf(student_, adapter.spec);
  adapter.values = InitialAdapter(adapter.layout, 5);  // B is 0
  const auto got =
      (*trainer)->ComputeGradient(adapter, texts_, 2, Config().alpha);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_NEAR(got->nll_sum, whole->nll_sum, 1e-5 * whole->nll_sum);
  size_t compared = 0;
  const auto& tensors = adapter.layout.tensors();
  for (size_t t = 0; t < tensors.size(); t += 2) {
    const ParameterLayout::Tensor &a = tensors[t], &b = tensors[t + 1];
    const std::string name =
        "model." + b.name.substr(0, b.name.size() - 7) + ".weight";
    const auto weight = std::ranges::find(layout_.tensors(), name,
                                          &ParameterLayout::Tensor::name);
    ASSERT_NE(weight, layout_.tensors().end()) << name;
    const auto rank = static_cast<size_t>(b.shape[1]);
    const auto in = static_cast<size_t>(a.shape[1]);
    for (size_t i = 0; i < b.count; ++i) {
      double sum = 0;
      for (size_t c = 0; c < in; ++c) {
        sum += whole->gradient[weight->offset + i / rank * in + c] *
               adapter.values[a.offset + i % rank * in + c];
      }
      EXPECT_NEAR(got->gradient[b.offset + i], 3 * sum, 1e-6) << b.name;
      ++compared;
    }
  }
  EXPECT_GT(compared, 50u);
  // The teacher is heard: labels alone say something else.
  texts_.taught = nullptr;
  const auto alone = (*trainer)->ComputeGradient(adapter, texts_, 2);
  ASSERT_TRUE(alone.ok()) << alone.status();
  EXPECT_GT(std::abs(alone->nll_sum - got->nll_sum), 0.1);
}

TEST_F(DistillerTest, ATextLongerThanTheTeachersContextIsRefused) {
  student_.context = 64;
  distiller_ = Make({});
  texts_.Add(std::vector<int32_t>(40, 1), 1);
  const auto trained = Train(Steps(1), Config());
  EXPECT_TRUE(absl::IsInvalidArgument(trained.status()));
  EXPECT_THAT(std::string(trained.status().message()),
              HasSubstr("the teacher takes at most 32"));
  // Nobody asks the teacher.
  EXPECT_TRUE(Train(Steps(1), {.alpha = 0}).ok());
}

}  // namespace
}  // namespace edgetune
