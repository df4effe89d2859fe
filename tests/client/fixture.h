#ifndef EDGETUNE_TESTS_CLIENT_FIXTURE_H_
#define EDGETUNE_TESTS_CLIENT_FIXTURE_H_

// What tests of clients share: a plan over the tiny model with its keys, data
// files, and an engine whose training is arithmetic that a reader can follow.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/parameters.h"
#include "client/client_session.h"
#include "config/daemon_files.h"
#include "privacy/identity/envelope.h"
#include "protos/edgetune/v1/federation.pb.h"
#include "protos/edgetune/v1/plan.pb.h"
#include "training/engine_loader.h"

namespace edgetune::testing {

struct TestKeys {
  SigningKey release, round, authority;
  TrustedKeys trusted;
};
TestKeys MakeTestKeys();

// A base model, an initial adapter (blob) and a plan that fits both.
struct TestRun {
  std::string model_path;
  std::string adapter_blob;
  v1::TaskPlan plan;
};
// 3 rounds of 3 steps, rank 2 on q_proj and v_proj, cohort and quorum of
// `cohort`; the tiny model is written into `directory`.
TestRun MakeTestRun(const std::string& directory, uint32_t cohort);

// Makes a run one of lora.rule "fedsb": a layout with cores, and the initial
// adapter of one.
void UseFedSb(TestRun& run);

// Makes a run one of lora.rule "fedex" or "flora" with so many frozen slices,
// zeros at first.
void UseFrozen(TestRun& run, const std::string& rule, int64_t frozen);

// Turns masking on in a plan of MakeTestRun: n_min 4 and a quorum that leaves
// room for losses.
void Mask(v1::TaskPlan& plan);

v1::Envelope SignedPlan(const v1::TaskPlan& plan, const TestKeys& keys);
// A manifest of `plan` in this round, in date now.
v1::RoundManifest MakeManifest(const v1::TaskPlan& plan,
                               const v1::Envelope& signed_plan, uint32_t round);
v1::Assignment MakeAssignment(const v1::TaskPlan& plan,
                              const v1::RoundManifest& manifest,
                              const TestKeys& keys);

// `examples` chat lines about `topic`; the path.
std::string WriteChatData(const std::string& directory,
                          const std::string& topic, int examples);

// A client.toml's content for `topic` with its files in `directory`.
ClientFile MakeClientFile(const std::string& directory,
                          const std::string& topic, int examples);

// Every step moves each trained coordinate a quarter of the way to a target
// that depends on the data, plus a seeded jitter, less lr times a correction,
// so a result shows which data, seed, round and start it came from. The loss is
// the mean squared distance, hence falls.
class FakeEngine final : public Engine {
 public:
  // Called before each training step, on the client's work thread.
  std::function<void(int64_t step)> on_step;
  std::function<void()> on_evaluate;  // called before each evaluation, there
  double more_loss = 0;  // a token, in each evaluation; set before it works
  std::atomic<int> trainings{0};
  std::atomic<int> steps{0};  // of all trainings
  std::atomic<int> trainers{0};
  std::atomic<int> asked{0};            // teachers, about some examples
  std::atomic<int64_t> micro_batch{0};  // of the last training

  bool UsesBf16(Precision precision) const override {
    return precision == Precision::kBf16;
  }
  // That the last training was given (TrainConfig::correction).
  ParameterVector last_correction() const {
    std::lock_guard<std::mutex> lock(mu_);
    return correction_;
  }
  void SetCorrection(std::span<const float> correction) {
    std::lock_guard<std::mutex> lock(mu_);
    correction_.assign(correction.begin(), correction.end());
  }

  absl::StatusOr<std::unique_ptr<Trainer>> MakeTrainer(
      std::shared_ptr<const ModelFile> model,
      const EngineOptions& options) override;
  absl::StatusOr<std::unique_ptr<LanguageModel>> MakeLanguageModel(
      std::shared_ptr<const ModelFile> model,
      const EngineOptions& options) override;
  // One that takes the first tokens of the vocabulary for as likely as each
  // other. Who trains on what it says goes a little elsewhere.
  absl::StatusOr<std::unique_ptr<Teacher>> MakeTeacher(
      std::shared_ptr<const ModelFile> teacher, const ModelConfig& student,
      std::vector<int32_t> teacher_tokens,
      const EngineOptions& options) override;

 private:
  mutable std::mutex mu_;
  ParameterVector correction_;  // guarded by mu_
};

}  // namespace edgetune::testing

#endif  // EDGETUNE_TESTS_CLIENT_FIXTURE_H_
