#include "simulations/population/partition.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string_view>
#include <utility>

#include "base/random.h"
#include "base/status.h"
#include "simulations/population/apportion.h"
#include "simulations/population/client_names.h"
#include "simulations/population/dirichlet_deal.h"

namespace edgetune {
namespace {

using Kind = PartitionSpec::Kind;

absl::Status WrongPartition(const std::string& what, ErrorKind kind,
                            std::string_view hint = "") {
  return Annotate(absl::InvalidArgumentError(what), kind, hint);
}

absl::Status CheckSpec(const PartitionSpec& spec) {
  // Comparisons with NaN are false, so NaN is refused too.
  if (spec.kind == Kind::kDirichlet &&
      !(spec.alpha >= kMinAlpha && spec.alpha <= kMaxAlpha)) {
    return WrongPartition(fmt::format("alpha is {}, wanted {} to {}",
                                      spec.alpha, kMinAlpha, kMaxAlpha),
                          ErrorKind::kConfig);
  }
  if (spec.kind == Kind::kShards && spec.shards_a_client < 1) {
    return WrongPartition(
        fmt::format("shards of a client are {}, wanted 1 or more",
                    spec.shards_a_client),
        ErrorKind::kConfig);
  }
  if (!(spec.quantity_sigma >= 0 && spec.quantity_sigma <= kMaxQuantitySigma)) {
    return WrongPartition(fmt::format("quantity_sigma is {}, wanted 0 to {}",
                                      spec.quantity_sigma, kMaxQuantitySigma),
                          ErrorKind::kConfig);
  }
  if (spec.kind == Kind::kNatural && spec.quantity_sigma != 0) {
    return WrongPartition(
        fmt::format("quantity_sigma is {}, but owners of a natural "
                    "partition bring sizes of their own",
                    spec.quantity_sigma),
        ErrorKind::kConfig, "leave quantity_sigma out");
  }
  return absl::OkStatus();
}

// How many examples each client must have; owners have what they have.
size_t LeastOf(const PartitionSpec& spec) {
  if (spec.kind == Kind::kNatural) return 0;
  return spec.kind == Kind::kShards ? static_cast<size_t>(spec.shards_a_client)
                                    : 1;
}

absl::Status CheckCounts(const PartitionSpec& spec, size_t examples,
                         size_t clients) {
  if (clients == 0)
    return WrongPartition("0 clients, wanted at least 1", ErrorKind::kData);
  const size_t least = LeastOf(spec);
  if (examples / clients >= least) return absl::OkStatus();
  return WrongPartition(
      fmt::format("{} clients for {} examples, but each needs {}", clients,
                  examples, least),
      ErrorKind::kData,
      fmt::format("ask for at most {} clients", examples / least));
}

// Labels as numbers, in the order of their bytes.
struct NumberedLabels {
  std::vector<std::string_view> texts;
  std::vector<size_t> of_example;
  IndexLists examples;  // of each label, ascending
};

NumberedLabels Number(std::span<const std::string> labels) {
  NumberedLabels out;
  out.texts.assign(labels.begin(), labels.end());
  std::ranges::sort(out.texts);
  const auto repeated = std::ranges::unique(out.texts);
  out.texts.erase(repeated.begin(), repeated.end());
  out.examples.resize(out.texts.size());
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto found =
        std::ranges::lower_bound(out.texts, std::string_view(labels[i]));
    const auto number = static_cast<size_t>(found - out.texts.begin());
    out.of_example.push_back(number);
    out.examples[number].push_back(i);
  }
  return out;
}

std::vector<size_t> DrawSizes(const PartitionSpec& spec, size_t examples,
                              size_t clients) {
  const Random random = Random(spec.seed).Split("sizes");
  std::vector<double> weights;
  for (size_t i = 0; i < clients; ++i) {
    Random draw = random.Split("client", i);
    weights.push_back(std::exp(spec.quantity_sigma * draw.Normal()));
  }
  return Apportion(examples, weights, LeastOf(spec));
}

IndexLists DealAlike(size_t examples, std::span<const size_t> sizes,
                     Random random) {
  std::vector<size_t> order(examples);
  std::iota(order.begin(), order.end(), size_t{0});
  random.Shuffle(order);
  IndexLists out;
  auto next = order.begin();
  for (const size_t size : sizes) {
    const auto end = next + static_cast<std::ptrdiff_t>(size);
    out.emplace_back(next, end);
    next = end;
  }
  return out;
}

// `shards`: of a client.
IndexLists DealShards(IndexLists by_label, std::span<const size_t> sizes,
                      size_t shards, Random random) {
  std::vector<size_t> sorted;
  for (std::vector<size_t>& examples : by_label) {
    random.Shuffle(examples);
    sorted.insert(sorted.end(), examples.begin(), examples.end());
  }
  // Shard order[j] / shards is whose the j-th piece of the sorted list is.
  std::vector<size_t> order(sizes.size() * shards);
  std::iota(order.begin(), order.end(), size_t{0});
  random.Shuffle(order);
  IndexLists out(sizes.size());
  auto next = sorted.begin();
  for (const size_t shard : order) {
    const size_t client = shard / shards;
    const bool longer = shard % shards < sizes[client] % shards;
    const auto end = next + static_cast<std::ptrdiff_t>(sizes[client] / shards +
                                                        (longer ? 1 : 0));
    out[client].insert(out[client].end(), next, end);
    next = end;
  }
  return out;
}

size_t MainLabelOf(std::span<const size_t> examples,
                   const NumberedLabels& labels) {
  std::vector<size_t> own;
  for (const size_t i : examples) own.push_back(labels.of_example[i]);
  std::ranges::sort(own);
  size_t main = 0, most = 0;
  for (size_t begin = 0, end = 0; begin < own.size(); begin = end) {
    while (end < own.size() && own[end] == own[begin]) ++end;
    if (end - begin <= most) continue;
    most = end - begin;
    main = own[begin];
  }
  return main;
}

Partition Finish(IndexLists dealt, const NumberedLabels& labels) {
  const std::vector<std::string> names = NumberedNames(dealt.size());
  Partition out;
  for (size_t i = 0; i < dealt.size(); ++i) {
    std::ranges::sort(dealt[i]);
    const size_t label = MainLabelOf(dealt[i], labels);
    out.push_back(
        {names[i], std::string(labels.texts[label]), std::move(dealt[i])});
  }
  return out;
}

absl::StatusOr<Partition> PartByOwner(const PartitionSpec& spec,
                                      const NumberedLabels& owners,
                                      size_t clients) {
  const size_t count = owners.texts.size();
  if (clients > count) {
    return WrongPartition(
        fmt::format("{} clients, but the data has {} owners", clients, count),
        ErrorKind::kData, fmt::format("ask for at most {} clients", count));
  }
  const std::vector<std::string> names = NamesOf(owners.texts);
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  Random(spec.seed).Split("owners").Shuffle(order);
  Partition out;
  for (size_t i = 0; i < clients; ++i) {
    const size_t owner = order[i];
    out.push_back({names[owner], std::string(owners.texts[owner]),
                   owners.examples[owner]});
  }
  return out;
}

}  // namespace

absl::StatusOr<Partition> MakePartition(const PartitionSpec& spec,
                                        std::span<const std::string> labels,
                                        size_t clients) {
  EDGETUNE_RETURN_IF_ERROR(CheckSpec(spec));
  EDGETUNE_RETURN_IF_ERROR(CheckCounts(spec, labels.size(), clients));
  NumberedLabels numbered = Number(labels);
  if (spec.kind == Kind::kNatural) return PartByOwner(spec, numbered, clients);
  if (spec.kind == Kind::kDirichlet &&
      numbered.texts.size() > kMaxDirichletLabels) {
    return WrongPartition(
        fmt::format("{} different labels, a Dirichlet partition takes "
                    "at most {}",
                    numbered.texts.size(), kMaxDirichletLabels),
        ErrorKind::kData, "is this field the label?");
  }
  const std::vector<size_t> sizes = DrawSizes(spec, labels.size(), clients);
  const Random random = Random(spec.seed).Split("deal");
  switch (spec.kind) {
    case Kind::kDirichlet:
      return Finish(
          DealByDirichlet(numbered.examples, {spec.alpha, sizes}, random),
          numbered);
    case Kind::kShards:
      return Finish(DealShards(numbered.examples, sizes, LeastOf(spec), random),
                    numbered);
    case Kind::kIid:
    case Kind::kNatural:  // returned above
      break;
  }
  return Finish(DealAlike(labels.size(), sizes, random), numbered);
}

}  // namespace edgetune
