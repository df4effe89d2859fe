// What the papers promise of their strategies, on a convex problem whose
// optimum is known: each client's loss is half the squared distance from a
// number of its own. Plan, local training, fold and server step are the real
// ones.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "aggregation/server_optimizer.h"
#include "base/random.h"
#include "client/train_plan.h"
#include "protos/plan_check.h"
#include "server/update_intake.h"
#include "tests/testing/plans.h"
#include "tests/training/pulling_engine.h"
#include "training/local_training.h"

namespace edgetune {
namespace {

using testing::Numbers;
using testing::PullingEngine;

constexpr int kSeeds = 4;

struct Party {
  int32_t target;    // of each of its examples
  int64_t examples;  // and of a step one
};

// Plain SGD over one pass.
v1::TaskPlan OnePassPlan() {
  v1::TaskPlan plan = ValidPlan();
  v1::TrainSpec& train = *plan.mutable_train();
  train.clear_steps();
  train.set_epochs(1);
  train.set_batch(1);
  train.set_micro_batch(1);
  train.set_grad_clip(0);
  train.set_optimizer("sgd");
  plan.mutable_rounds()->set_count(1000);
  plan.mutable_rounds()->set_cohort(8);
  plan.mutable_rounds()->set_quorum(1);
  return plan;
}

// Rounds of all clients, from an adapter of zeros. All its coordinates are
// pulled alike, so that one of them tells all.
class Federation {
 public:
  Federation(v1::TaskPlan plan, std::vector<Party> clients)
      : plan_(std::move(plan)), clients_(std::move(clients)) {
    EXPECT_TRUE(CheckPlan(plan_).ok()) << CheckPlan(plan_);
    model_.vocab = 100;
    model_.context = 8;
    adapter_.layout = *AdapterLayout(plan_);
    adapter_.values.assign(adapter_.layout.size(), 0);
    optimizer_ = *MakeServerOptimizer({.lr = plan_.rounds().server_lr()},
                                      adapter_.values.size(), "");
  }

  TrainResult Train(const Party& client, uint32_t round) const {
    const Numbers examples = ExamplesOf(client);
    PullingEngine engine(adapter_.values);
    const TrainConfig config =
        TrainConfigOf(plan_, round, {"data", examples.size()});
    const auto result =
        TrainSegment({"pulling", model_, adapter_, examples, config},
                     StopToken{false}, {}, engine);
    EXPECT_TRUE(result.ok()) << result.status();
    return *result;
  }

  // Mean loss of the adapter on the client's examples.
  double Loss(const Party& client) const {
    PullingEngine engine(adapter_.values);
    const auto measured = EvaluateExamples(
        model_, ExamplesOf(client), plan_.rounds().eval_examples(),
        StopToken{false},
        [&](ExampleBatch batch) { return engine.AddGradient(batch, 1); });
    return *IncomingLossOf(*measured);
  }

  void Round(uint32_t round) {
    const auto fold = *MakeRoundFold(plan_, round);
    const bool equal = plan_.rounds().weights() == "equal";
    for (const Party& client : clients_) {
      const TrainResult result = Train(client, round);
      const double weight = equal ? 1 : WeightOf(plan_, client.examples);
      ASSERT_TRUE(
          fold->Add(result.delta, {weight, result.steps, Loss(client)}).ok());
    }
    ASSERT_TRUE(optimizer_
                    ->Step(fold->Finish()->mean, *UpdateRanges(plan_, round),
                           adapter_.values)
                    .ok());
  }

  // Where so many rounds end.
  double Run(uint32_t rounds) {
    for (uint32_t round = 0; round < rounds; ++round) Round(round);
    return adapter_.values[0];
  }
  std::vector<double> Losses() const {
    std::vector<double> losses;
    for (const Party& client : clients_) losses.push_back(Loss(client));
    return losses;
  }

 private:
  static Numbers ExamplesOf(const Party& client) {
    return Numbers(std::vector<int32_t>(static_cast<size_t>(client.examples),
                                        client.target));
  }

  const v1::TaskPlan plan_;
  const std::vector<Party> clients_;
  ModelConfig model_;
  Adapter adapter_;
  std::unique_ptr<ServerOptimizer> optimizer_;
};

// The more examples, hence steps, the larger the target.
std::vector<Party> UnequalClients(uint64_t seed) {
  Random random(seed);
  std::vector<Party> clients;
  int32_t target = 0;
  for (const int64_t examples : {1, 2, 4, 8, 16}) {
    target += static_cast<int32_t>(1 + random.Below(3));
    clients.push_back({target, examples});
  }
  return clients;
}

// sum w target / sum w
template <typename Weight>
double Centre(const std::vector<Party>& clients, const Weight& weight) {
  double sum = 0, all = 0;
  for (const Party& client : clients) {
    sum += weight(client) * client.target;
    all += weight(client);
  }
  return sum / all;
}

struct Solver {
  double momentum, mu;
};

v1::TaskPlan NovaPlan(const Solver& solver, const std::string& weights) {
  v1::TaskPlan plan = OnePassPlan();
  plan.mutable_train()->set_lr(1e-3);
  plan.mutable_train()->set_momentum(solver.momentum);
  if (solver.mu > 0) plan.mutable_train()->set_objective("prox");
  plan.mutable_train()->set_prox_mu(solver.mu);
  plan.mutable_rounds()->set_weights(weights);
  plan.mutable_rounds()->set_server_lr(10);
  return plan;
}

// Wang et al. 2020, Theorem 1: with unequal local steps FedAvg ends where
// clients are weighed by their steps besides; FedNova ends at the optimum of
// the weighted loss. Small rates: to first order in lr * steps.
TEST(ObjectivesTest, FedNovaEndsAtTheOptimumWhereFedAvgDoesNot) {
  for (const Solver& solver : {Solver{0, 0}, Solver{0.5, 0}, Solver{0, 100}}) {
    for (const char* weights : {"examples", "equal"}) {
      for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
        const auto clients = UnequalClients(seed);
        const double optimum = Centre(clients, [&](const Party& c) {
          return weights == std::string("equal") ? 1 : c.examples;
        });
        v1::TaskPlan plan = NovaPlan(solver, weights);
        const double average = Federation(plan, clients).Run(300);
        plan.mutable_rounds()->set_normalise("steps");
        const double nova = Federation(plan, clients).Run(300);
        // Largest lr * ||a|| is 16 * 2 * 1e-3: a few per cent of the gap.
        EXPECT_LT(std::abs(nova - optimum), 0.05 * std::abs(average - optimum))
            << solver.momentum << " " << solver.mu << " " << weights << seed;
      }
    }
  }
}

// The wrong point itself: plain SGD of rate r goes 1 - (1 - r)^steps of the way
// to a client's target.
TEST(ObjectivesTest, FedAvgEndsWhereStepsAreCounted) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const auto clients = UnequalClients(seed);
    const double wrong = Centre(clients, [](const Party& c) {
      return c.examples * (1 - std::pow(1 - 1e-3, c.examples));
    });
    const double right =
        Centre(clients, [](const Party& c) { return double(c.examples); });
    const double average =
        Federation(NovaPlan({0, 0}, "examples"), clients).Run(300);
    // A local step of a value near 10 rounds by up to 5e-7, and pulls back by
    // 1e-3 of what is wrong.
    EXPECT_NEAR(average, wrong, 1e-3);
    EXPECT_GT(std::abs(average - right), 0.1);
  }
}

// How far clients' results lie from each other after one round.
double Drift(double mu, const std::vector<Party>& clients) {
  v1::TaskPlan plan = OnePassPlan();
  plan.mutable_train()->set_lr(0.05);
  plan.mutable_train()->set_epochs(50);
  if (mu > 0) plan.mutable_train()->set_objective("prox");
  plan.mutable_train()->set_prox_mu(mu);
  const Federation federation(plan, clients);
  std::vector<double> ends;
  double mean = 0;
  for (const Party& client : clients) {
    ends.push_back(federation.Train(client, 0).delta[0]);
    mean += ends.back() / static_cast<double>(clients.size());
  }
  double drift = 0;
  for (const double end : ends) drift += (end - mean) * (end - mean);
  return drift;
}

// Li et al. 2020 (FedProx), section 3.2: the term limits the impact of variable
// local updates.
TEST(ObjectivesTest, FedProxReducesClientDrift) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const auto clients = UnequalClients(seed);
    double before = INFINITY;
    for (const double mu : {0.0, 0.1, 1.0, 10.0}) {
      const double drift = Drift(mu, clients);
      EXPECT_LT(drift, before) << mu;
      before = drift;
    }
    // Results scale by 1 / (1 + mu) in the end, their squares by its square.
    EXPECT_LT(before, Drift(0, clients) / 100);
  }
}

// Four clients near each other and one far off.
std::vector<Party> OneApart(uint64_t seed) {
  Random random(seed);
  std::vector<Party> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back({static_cast<int32_t>(1 + random.Below(5)), 5});
  }
  clients.push_back({static_cast<int32_t>(12 + random.Below(4)), 5});
  return clients;
}

double Variance(const std::vector<double>& values) {
  double sum = 0, squares = 0;
  for (const double value : values) sum += value, squares += value * value;
  const auto n = static_cast<double>(values.size());
  return squares / n - (sum / n) * (sum / n);
}

// Li et al. 2020 (q-FFL), section 3: a larger q brings the clients' losses
// nearer to each other, and the largest down.
TEST(ObjectivesTest, ALargerQMakesLossesMoreEqual) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    double variance = INFINITY, largest = INFINITY;
    for (const double q : {0.0, 0.5, 2.0, 5.0}) {
      v1::TaskPlan plan = OnePassPlan();
      plan.mutable_train()->set_lr(0.01);
      plan.mutable_rounds()->set_weights("equal");
      plan.mutable_rounds()->set_server_lr(4);
      plan.mutable_rounds()->set_fairness_q(q);
      Federation federation(plan, OneApart(seed));
      federation.Run(300);
      const auto losses = federation.Losses();
      EXPECT_LT(Variance(losses), variance) << q << " " << seed;
      EXPECT_LT(*std::max_element(losses.begin(), losses.end()), largest);
      variance = Variance(losses);
      largest = *std::max_element(losses.begin(), losses.end());
    }
  }
}

// Its objective, sum F_k^(q+1) / (q+1), is least where sum F_k^q (w - c_k) = 0.
TEST(ObjectivesTest, QFedAvgEndsWhereItsObjectiveIsLeast) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    v1::TaskPlan plan = OnePassPlan();
    plan.mutable_train()->set_lr(0.01);
    plan.mutable_rounds()->set_weights("equal");
    plan.mutable_rounds()->set_server_lr(4);
    plan.mutable_rounds()->set_fairness_q(2);
    const auto clients = OneApart(seed);
    Federation federation(plan, clients);
    const double end = federation.Run(300);
    double slope = 0, size = 0;
    for (const Party& c : clients) {
      const double power = std::pow(federation.Loss(c), 2);
      slope += power * (end - c.target);
      size += power * std::abs(end - c.target);
    }
    EXPECT_LT(std::abs(slope), 1e-4 * size);  // float32 steps of the server
  }
}

}  // namespace
}  // namespace edgetune
