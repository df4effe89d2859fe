// B8: what masking costs. For each workload one client's work (rounding, its
// masks, packing) and the coordinator's (adding uploads, taking the masks off,
// checking), beside what OpenSSL alone needs for as many bytes of AES-256-CTR
// key stream on all cores. Sums are compared with the inputs'. Prints JSON.
//
// usage: secagg_bench [WORKLOAD ...]     without: all

#include <fmt/format.h>
#include <malloc.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/status.h"
#include "bench/secagg_session.h"
#include "bench/timing.h"
#include "privacy/crypto/secret.h"
#include "privacy/crypto/secure_random.h"
#include "privacy/secagg/masked_vector.h"
#include "protos/masking.h"

namespace edgetune::secagg {
namespace {

constexpr uint16_t kCanary = 0xC0DE;
constexpr int kRuns = 3;
constexpr size_t kPieceBytes = 16384;
constexpr size_t kProbeBytes = size_t{1} << 29;  // a core, for the limit

struct Workload {
  std::string_view name;
  size_t coordinates;
  uint32_t clients;
  uint32_t lost;    // after they shared their keys
  uint32_t groups;  // sessions of so many clients, one after the other
};

constexpr Workload kWorkloads[] = {
    {"a0", 100000, 100, 0, 1},   {"a10", 100000, 100, 10, 1},
    {"a30", 100000, 100, 30, 1}, {"b", 921600, 100, 10, 1},
    {"c", 921600, 100, 10, 3},   {"c300", 921600, 300, 30, 1},
};

struct Seconds {
  double wall = 0;
  double cpu = 0;  // of all threads
};

template <typename Work>
Seconds Timed(const Work& work) {
  const double cpu = bench::ProcessSeconds();
  const auto start = std::chrono::steady_clock::now();
  work();
  const std::chrono::duration<double> wall =
      std::chrono::steady_clock::now() - start;
  return {wall.count(), bench::ProcessSeconds() - cpu};
}

// The run of the least wall time: what other programs on the machine take away
// is not a property of this one.
Seconds Best(std::vector<Seconds> runs) {
  return *std::min_element(
      runs.begin(), runs.end(),
      [](const Seconds& a, const Seconds& b) { return a.wall < b.wall; });
}

int Cores() { return static_cast<int>(std::thread::hardware_concurrency()); }

void EncryptOnOneCore() {
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)> context(
      EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  const std::array<uint8_t, 32> key{};
  const std::array<uint8_t, 16> iv{};
  EDGETUNE_CHECK(EVP_EncryptInit_ex2(context.get(), EVP_aes_256_ctr(),
                                     key.data(), iv.data(), nullptr) == 1);
  std::vector<uint8_t> piece(kPieceBytes);
  int size = 0;
  for (size_t done = 0; done < kProbeBytes; done += kPieceBytes) {
    EDGETUNE_CHECK(EVP_EncryptUpdate(context.get(), piece.data(), &size,
                                     piece.data(), kPieceBytes) == 1);
  }
}

// Seconds that OpenSSL needs for one byte, on all cores at once.
Seconds AesSecondsPerByte() {
  const Seconds all = Timed([] {
    std::vector<std::thread> others;
    for (int i = 1; i < Cores(); ++i) others.emplace_back(EncryptOnOneCore);
    EncryptOnOneCore();
    for (std::thread& other : others) other.join();
  });
  const double bytes = static_cast<double>(kProbeBytes) * Cores();
  return {all.wall / bytes, all.cpu / bytes};
}

SecretBytes FreshKey() {
  SystemRandom random;
  return RandomSecret(random, 32).value();
}

std::vector<MaskTerm> FreshTerms(size_t count) {
  std::vector<MaskTerm> terms;
  for (size_t i = 0; i < count; ++i) terms.push_back({FreshKey(), i % 2 == 0});
  return terms;
}

std::vector<MaskTerm> Negated(std::span<const MaskTerm> terms) {
  std::vector<MaskTerm> negated;
  for (const MaskTerm& term : terms) {
    negated.push_back({SecretBytes::Copy(term.key.bytes()), !term.subtract});
  }
  return negated;
}

MaskedShape ShapeOf(const Workload& workload) {
  MaskedShape shape;
  shape.n_max = workload.clients;
  shape.bound = 0.25;
  shape.lanes = {{LaneUse::kWeight, 1},
                 {LaneUse::kNll, 32.0 * 512 * 16},
                 {LaneUse::kTokens, 32.0 * 512},
                 {LaneUse::kClamped, 1}};
  shape.coordinates = workload.coordinates;
  return shape;
}

// An update that looks like one: small, never the same for two clients.
std::vector<float> Update(size_t n, uint32_t client) {
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) {
    values[i] = 0.02f * std::sin(static_cast<float>(i % 10007 + 31 * client));
  }
  return values;
}

RingVector QuantizeUpdate(const MaskedShape& shape,
                          std::span<const float> update) {
  // A fast generator with a secret seed, as a client uses it.
  SeededRandom random = SeededRandom::Make(FreshKey().bytes()).value();
  return Quantize(shape,
                  {.weight = 1,
                   .lanes = {{LaneUse::kWeight, 1},
                             {LaneUse::kNll, 1000},
                             {LaneUse::kTokens, 500},
                             {LaneUse::kClamped, 0}},
                   .coordinates = update},
                  kCanary, random)
      .value();
}

struct ClientCost {
  Seconds quantize, mask, pack;
};

ClientCost OneClient(const Workload& workload, const MaskedShape& shape,
                     int threads) {
  const std::vector<float> update = Update(shape.coordinates, 1);
  const std::vector<MaskTerm> terms = FreshTerms(workload.clients);
  std::vector<Seconds> quantize, mask, pack;
  for (int run = 0; run < kRuns; ++run) {
    RingVector vector;
    quantize.push_back(Timed([&] { vector = QuantizeUpdate(shape, update); }));
    mask.push_back(Timed(
        [&] { EDGETUNE_CHECK(ApplyMasks(terms, threads, vector).ok()); }));
    std::string packed;
    pack.push_back(Timed([&] { packed = PackLanes(shape, vector); }));
  }
  return {Best(quantize), Best(mask), Best(pack)};
}

size_t ResidentBytes(std::string_view field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field)) {
      return size_t{1024} * std::stoul(line.substr(field.size() + 1));
    }
  }
  return 0;
}

// From here on VmHWM counts anew, and memory that was freed is not held.
void ForgetPeak() {
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5";
}

struct ServerCost {
  Seconds fold, unmask, decode;
  size_t memory = 0;  // above what it held before
  double error = 0;   // largest distance of a coordinate from the true sum
};

// The uploads of one session. All members but the first sent the same, and the
// masks that are left in the sum all lie in the first one's: to the coordinator
// it is the same work.
class Session {
 public:
  Session(const Workload& workload, const MaskedShape& shape)
      : shape_(shape), survivors_(workload.clients - workload.lost) {
    const std::vector<float> first = Update(shape_.coordinates, 0);
    const std::vector<float> other = Update(shape_.coordinates, 1);
    terms_ = FreshTerms(survivors_ * (1 + size_t{workload.lost}));
    RingVector masked = QuantizeUpdate(shape_, first);
    EDGETUNE_CHECK(ApplyMasks(Negated(terms_), Cores(), masked).ok());
    first_ = PackLanes(shape_, masked);
    other_ = PackLanes(shape_, QuantizeUpdate(shape_, other));
    for (size_t i = 0; i < shape_.coordinates; ++i) {
      want_.push_back(first[i] + (survivors_ - 1.0) * other[i]);
    }
  }

  ServerCost Aggregate() const {
    ServerCost cost;
    ForgetPeak();
    const size_t before = ResidentBytes("VmRSS:");
    MaskedSum sum(shape_);
    cost.fold = Timed([&] {
      for (uint32_t u = 0; u < survivors_; ++u) {
        EDGETUNE_CHECK(sum.Add(ByteSpan(u == 0 ? first_ : other_)).ok());
      }
    });
    std::vector<int64_t> sums;
    cost.unmask =
        Timed([&] { sums = sum.Unmask(terms_, kCanary, Cores()).value(); });
    SumResult result;
    cost.decode = Timed([&] { result = DecodeSum(shape_, sums); });
    const size_t after = ResidentBytes("VmHWM:");
    cost.memory = after > before ? after - before : 0;
    for (size_t i = 0; i < want_.size(); ++i) {
      cost.error =
          std::max(cost.error, std::fabs(result.coordinates[i] - want_[i]));
    }
    return cost;
  }

  size_t terms() const { return terms_.size(); }

 private:
  const MaskedShape& shape_;
  const uint32_t survivors_;
  std::vector<MaskTerm> terms_;
  std::string first_, other_;
  std::vector<double> want_;
};

double Rounded(double value) { return std::stod(fmt::format("{:.5g}", value)); }

// Unmasking beside the time of the same bytes from OpenSSL, in turns.
nlohmann::json ServerFigures(const Workload& workload,
                             const MaskedShape& shape) {
  const Session session(workload, shape);
  const double bytes =
      4.0 * static_cast<double>(shape.size() * session.terms());
  std::vector<Seconds> limits, servers, folds;
  ServerCost cost;
  for (int run = 0; run < kRuns; ++run) {
    const Seconds aes = AesSecondsPerByte();
    limits.push_back({aes.wall * bytes, aes.cpu * bytes});
    cost = session.Aggregate();
    folds.push_back(cost.fold);
    servers.push_back({cost.unmask.wall + cost.decode.wall,
                       cost.unmask.cpu + cost.decode.cpu});
  }
  const Seconds limit = Best(limits), server = Best(servers);
  const double groups = workload.groups;
  return {{"mask_streams", session.terms()},
          {"unmask_s", Rounded(groups * server.wall)},
          {"unmask_cpu_s", Rounded(groups * server.cpu)},
          {"aes_limit_s", Rounded(groups * limit.wall)},
          {"aes_limit_cpu_s", Rounded(groups * limit.cpu)},
          {"ratio", Rounded(server.wall / limit.wall)},
          {"cpu_ratio", Rounded(server.cpu / limit.cpu)},
          {"fold_s", Rounded(groups * Best(folds).wall)},
          {"memory_mb", Rounded(1e-6 * static_cast<double>(cost.memory))},
          {"largest_error", Rounded(cost.error)}};
}

nlohmann::json ClientFigures(const Workload& workload,
                             const MaskedShape& shape) {
  const auto figures = [&](int threads) {
    const ClientCost cost = OneClient(workload, shape, threads);
    const auto sum = [&](double Seconds::*part) {
      return Rounded(1e3 *
                     (cost.quantize.*part + cost.mask.*part + cost.pack.*part));
    };
    return nlohmann::json{{"ms", sum(&Seconds::wall)},
                          {"cpu_ms", sum(&Seconds::cpu)},
                          {"quantize_ms", Rounded(1e3 * cost.quantize.wall)},
                          {"mask_ms", Rounded(1e3 * cost.mask.wall)}};
  };
  return {{"one_core", figures(1)}, {"all_cores", figures(Cores())}};
}

nlohmann::json Run(const Workload& workload) {
  const MaskedShape shape = ShapeOf(workload);
  const SessionCost messages = RunSession(workload.clients, workload.lost);
  const size_t up = shape.byte_size() + messages.up_bytes;
  nlohmann::json server = ServerFigures(workload, shape);
  server["messages_s"] = Rounded(workload.groups * messages.server_s);
  server["all_s"] = Rounded(workload.groups * messages.server_s +
                            server["unmask_s"].get<double>() +
                            server["fold_s"].get<double>());
  nlohmann::json client = ClientFigures(workload, shape);
  client["messages_ms"] = Rounded(1e3 * messages.client_s);
  client["up_bytes"] = up;
  client["up_ratio"] =
      Rounded(static_cast<double>(up) / (4.0 * workload.coordinates));
  client["down_bytes"] = messages.down_bytes;
  return {{"coordinates", workload.coordinates},
          {"clients", workload.clients},
          {"lost", workload.lost},
          {"groups", workload.groups},
          {"client", client},
          {"server", server}};
}

int Main(std::span<char* const> wanted) {
  nlohmann::json results;
  for (const Workload& workload : kWorkloads) {
    const bool chosen =
        wanted.empty() ||
        std::any_of(wanted.begin(), wanted.end(),
                    [&](const char* name) { return workload.name == name; });
    if (chosen) results[std::string(workload.name)] = Run(workload);
  }
  std::cout << results << "\n";
  return results.empty() ? 4 : 0;
}

}  // namespace
}  // namespace edgetune::secagg

int main(int argc, char** argv) {
  return edgetune::secagg::Main({argv + 1, static_cast<size_t>(argc - 1)});
}
