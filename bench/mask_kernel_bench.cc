// B9: sums 128 masks of 2^20 words, beside what OpenSSL alone needs to make as
// many bytes of AES-256-CTR key stream. Prints one JSON object.
//
// Both are timed by the processor time of this thread, in turns, so that other
// work on the machine weighs on both alike or not at all.

#include <openssl/evp.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

#include "base/status.h"
#include "bench/timing.h"
#include "privacy/crypto/mask_stream.h"
#include "privacy/crypto/secret.h"

namespace edgetune {
namespace {

constexpr size_t kSeeds = 128;
constexpr size_t kLanes = size_t{1} << 20;
// Words taken from every stream before going on: the sums stay in the
// second-level cache.
constexpr size_t kBlockLanes = size_t{1} << 16;
// What OpenSSL is given at once: as much as `openssl speed` gives it, which is
// its best case (the first-level cache).
constexpr int kPieceBytes = 16384;
constexpr int kRuns = 9;

using CipherContext =
    std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;

SecretBytes KeyOf(size_t seed) {
  SecretBytes key(32);
  key.bytes()[0] = static_cast<uint8_t>(seed);
  return key;
}

template <typename Work>
double Timed(const Work& work) {
  const double start = bench::ThreadSeconds();
  work();
  return bench::ThreadSeconds() - start;
}

void SumMasks(std::vector<MaskStream>& streams, std::span<uint32_t> sums) {
  for (size_t first = 0; first < kLanes; first += kBlockLanes) {
    for (MaskStream& stream : streams) {
      EDGETUNE_CHECK(stream.Add(first, sums.subspan(first, kBlockLanes)).ok());
    }
  }
}

// In place, over the beginning of the same buffer.
void OpensslAlone(std::vector<CipherContext>& contexts,
                  std::span<uint32_t> sums) {
  auto* const piece = reinterpret_cast<uint8_t*>(sums.data());
  int size = 0;
  for (CipherContext& context : contexts) {
    for (size_t done = 0; done < kLanes * 4; done += kPieceBytes) {
      EDGETUNE_CHECK(EVP_EncryptUpdate(context.get(), piece, &size, piece,
                                       kPieceBytes) == 1);
    }
  }
}

void Run() {
  std::vector<MaskStream> streams;
  std::vector<CipherContext> contexts;
  const std::array<uint8_t, 16> iv{};
  for (size_t seed = 0; seed < kSeeds; ++seed) {
    streams.push_back(MaskStream::Make(KeyOf(seed)).value());
    contexts.emplace_back(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
    EDGETUNE_CHECK(EVP_EncryptInit_ex2(contexts.back().get(), EVP_aes_256_ctr(),
                                       KeyOf(seed).bytes().data(), iv.data(),
                                       nullptr) == 1);
  }
  std::vector<uint32_t> sums(kLanes);
  std::vector<double> ours, openssl, shares;
  for (int run = 0; run <= kRuns; ++run) {
    const double mine = Timed([&] { SumMasks(streams, sums); });
    const double theirs = Timed([&] { OpensslAlone(contexts, sums); });
    if (run == 0) continue;  // warms up
    ours.push_back(mine);
    openssl.push_back(theirs);
    shares.push_back(theirs / mine);
  }
  const double lanes = static_cast<double>(kSeeds * kLanes);
  const auto rounded = [](double value) {
    return std::round(value * 1000) / 1000;
  };
  std::cout << nlohmann::json{{"lanes_per_s",
                               std::round(lanes / bench::Median(ours))},
                              {"gb_per_s",
                               rounded(lanes * 4e-9 / bench::Median(ours))},
                              {"openssl_gb_per_s",
                               rounded(lanes * 4e-9 / bench::Median(openssl))},
                              {"share", rounded(bench::Median(shares))}}
            << "\n";
}

}  // namespace
}  // namespace edgetune

int main() { edgetune::Run(); }
