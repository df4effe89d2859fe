// A38: whether times tell secrets apart. Each target runs many times, with one
// fixed secret or with a random one, in random order; Welch's t compares the
// two means (dudect: Reparaz, Balasch, Verbauwhede, "Dude, is my code constant
// time?", 2017). |t| below 4.5 shows no difference. The slowest tenth is left
// out: interrupts. The control stops at the first different byte, and must be
// found. Prints one JSON object.

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "privacy/crypto/secret.h"
#include "privacy/crypto/secure_random.h"
#include "privacy/secagg/gf65536.h"
#include "privacy/secagg/shamir.h"

namespace edgetune::secagg {
namespace {

constexpr size_t kMeasurements = 200000;
constexpr double kKept = 0.9;  // of the measurements, the fastest

// Something the compiler cannot leave out.
volatile uint32_t sink;

struct Target {
  std::string name;
  uint8_t fixed;  // every byte of the fixed secret
  std::function<void(const SecretBytes&)> run;
};

struct Moments {
  double count = 0, mean = 0, squares = 0;

  void Add(double value) {
    const double before = value - mean;
    mean += before / ++count;
    squares += before * (value - mean);
  }
  // Variance of the mean.
  double Error() const { return squares / (count - 1) / count; }
};

SeededRandom Generator() {
  SystemRandom system;
  return SeededRandom::Make(RandomSecret(system, 32).value().bytes()).value();
}

nlohmann::json Measure(const Target& target) {
  SeededRandom random = Generator();
  // Drawn before, so that both classes have the same history when timed.
  std::vector<uint8_t> drawn(kMeasurements * kSecretSize);
  std::vector<uint8_t> classes(kMeasurements);
  EDGETUNE_CHECK(random.Fill(drawn).ok() && random.Fill(classes).ok());
  std::vector<double> nanoseconds(kMeasurements);
  SecretBytes secret(kSecretSize);
  for (size_t i = 0; i < kMeasurements; ++i) {
    // Both are read and chosen by a mask: the choice costs the same.
    const auto keep = static_cast<uint8_t>(-(classes[i] & 1));
    for (size_t k = 0; k < kSecretSize; ++k) {
      secret.bytes()[k] = static_cast<uint8_t>(
          (drawn[i * kSecretSize + k] & keep) | (target.fixed & ~keep));
    }
    const auto start = std::chrono::steady_clock::now();
    target.run(secret);
    const std::chrono::duration<double, std::nano> spent =
        std::chrono::steady_clock::now() - start;
    nanoseconds[i] = spent.count();
  }
  std::vector<double> sorted = nanoseconds;
  const auto most = sorted.begin() + static_cast<size_t>(kKept * kMeasurements);
  std::nth_element(sorted.begin(), most, sorted.end());
  std::array<Moments, 2> moments;
  for (size_t i = kMeasurements / 100; i < kMeasurements; ++i) {
    if (nanoseconds[i] <= *most) moments[classes[i] & 1].Add(nanoseconds[i]);
  }
  const double difference = moments[1].mean - moments[0].mean;
  return {
      {"t", difference / std::sqrt(moments[0].Error() + moments[1].Error())},
      {"ns", moments[1].mean},
      {"difference_percent", 100 * difference / moments[1].mean}};
}

void Multiply(const SecretBytes& secret) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < 256; ++i) {
    const size_t at = 2 * (i % 16);
    const auto element =
        static_cast<uint16_t>(secret.bytes()[at] << 8 | secret.bytes()[at + 1]);
    sum ^= GfMultiply(element, static_cast<uint16_t>(257 * i + 1));
    sum ^= GfMultiply(static_cast<uint16_t>(257 * i + 1), element);
  }
  sink = sum;
}

std::vector<Target> Targets() {
  const auto share = [random = std::make_shared<SeededRandom>(Generator())](
                         const SecretBytes& secret) {
    sink = ShareSecret(secret, 7, 10, *random).value()[0].bytes()[0];
  };
  // Against 32 zeros: the fixed secret is equal, a random one is not.
  const auto zeros = std::make_shared<SecretBytes>(kSecretSize);
  const auto equals = [zeros](const SecretBytes& secret) {
    uint32_t equal = 0;
    for (int i = 0; i < 32; ++i) equal += secret.Equals(zeros->bytes()) ? 1 : 0;
    sink = equal;
  };
  const auto control = [zeros](const SecretBytes& secret) {
    uint32_t equal = 0;
    for (int i = 0; i < 32; ++i) {
      sink = 0;
      equal += std::equal(secret.bytes().begin(), secret.bytes().end(),
                          zeros->bytes().begin())
                   ? 1
                   : 0;
    }
    sink = equal;
  };
  return {{"gf_multiply_zeros", 0x00, Multiply},
          {"gf_multiply_ones", 0xFF, Multiply},
          {"share_secret_zeros", 0x00, share},
          {"share_secret_ones", 0xFF, share},
          {"secret_equals", 0x00, equals},
          {"control", 0x00, control}};
}

int Main() {
  nlohmann::json results;
  bool passed = true;
  for (const Target& target : Targets()) {
    const nlohmann::json figures = Measure(target);
    const bool told_apart = std::fabs(figures["t"].get<double>()) >= 4.5;
    passed = passed && told_apart == (target.name == "control");
    results[target.name] = figures;
  }
  results["passed"] = passed;
  std::cout << results << "\n";
  return 0;
}

}  // namespace
}  // namespace edgetune::secagg

int main() { return edgetune::secagg::Main(); }
