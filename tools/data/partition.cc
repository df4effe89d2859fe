#include "tools/data/partition.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "base/status.h"
#include "simulations/population/gamma_draw.h"

namespace edgetune {
namespace {

constexpr int kTries = 100;
constexpr int64_t kFewest = 2;  // one to train on, one to hold out

using Clients = std::vector<size_t>;  // of each example

// The examples of each value, in order.
std::vector<std::vector<size_t>> ByValue(const std::vector<size_t>& values) {
  std::vector<std::vector<size_t>> groups;
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] >= groups.size()) groups.resize(values[i] + 1);
    groups[values[i]].push_back(i);
  }
  return groups;
}

Clients DealOut(size_t examples, const PartitionOptions& options) {
  std::vector<size_t> order(examples);
  std::iota(order.begin(), order.end(), size_t{0});
  Random random = Random(options.seed).Split("split/iid");
  random.Shuffle(order);
  Clients clients(examples);
  for (size_t i = 0; i < examples; ++i) clients[order[i]] = i % options.clients;
  return clients;
}

Clients ByField(const std::vector<size_t>& values,
                const PartitionOptions& options) {
  auto groups = ByValue(values);
  std::ranges::stable_sort(
      groups, [](const auto& a, const auto& b) { return a.size() > b.size(); });
  std::vector<size_t> sizes(options.clients);
  Clients clients(values.size());
  for (const auto& group : groups) {
    const auto fewest = std::ranges::min_element(sizes);
    *fewest += group.size();
    for (const size_t i : group) {
      clients[i] = static_cast<size_t>(fewest - sizes.begin());
    }
  }
  return clients;
}

Clients ByShares(const std::vector<size_t>& values,
                 const PartitionOptions& options, uint64_t attempt) {
  Random random = Random(options.seed).Split("split/dirichlet", attempt);
  Clients clients(values.size());
  for (auto& group : ByValue(values)) {
    random.Shuffle(group);
    const auto shares = DrawDirichlet(options.clients, options.alpha, random);
    double sum = 0;
    size_t at = 0;
    for (size_t client = 0; client < options.clients; ++client) {
      sum += shares[client];
      const bool last = client + 1 == options.clients;
      const auto end = static_cast<size_t>(
          std::llround(sum * static_cast<double>(group.size())));
      const size_t stop = last ? group.size() : std::min(end, group.size());
      for (; at < stop; ++at) clients[group[at]] = client;
    }
  }
  return clients;
}

int64_t Fewest(const Clients& clients, size_t count) {
  std::vector<int64_t> sizes(count);
  for (const size_t client : clients) ++sizes[client];
  return *std::ranges::min_element(sizes);
}

}  // namespace

std::vector<double> DrawDirichlet(size_t parts, double alpha, Random& random) {
  std::vector<double> shares(parts);
  for (double& share : shares) share = DrawLogGamma(alpha, random);
  const double highest = *std::ranges::max_element(shares);
  for (double& share : shares) share = std::exp(share - highest);
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) share /= sum;
  return shares;
}

absl::StatusOr<std::vector<size_t>> ClientsOfExamples(
    const std::vector<size_t>& values, const PartitionOptions& options) {
  using enum PartitionOptions::By;
  Clients clients;
  int64_t fewest = 0;
  const int tries = options.by == kDirichlet ? kTries : 1;
  for (int attempt = 0; attempt < tries && fewest < kFewest; ++attempt) {
    clients = options.by == kIid     ? DealOut(values.size(), options)
              : options.by == kField ? ByField(values, options)
                                     : ByShares(values, options, attempt);
    fewest = Fewest(clients, options.clients);
  }
  if (fewest >= kFewest) return clients;
  return Annotate(
      absl::InvalidArgumentError(fmt::format(
          "{} examples for {} clients: one of them would get {}, wanted at "
          "least {}",
          values.size(), options.clients, fewest, kFewest)),
      ErrorKind::kUsage,
      options.by == kDirichlet ? "lower --clients or raise --alpha"
                               : "lower --clients");
}

}  // namespace edgetune
