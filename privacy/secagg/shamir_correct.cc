// Decoding of shares as a Reed-Solomon word. The key equation of Berlekamp and
// Welch, N(x_i) = y_i E(x_i) with deg E <= e and deg N < t + e, is solved by
// the extended Euclidean algorithm (S. Gao, A new algorithm for decoding
// Reed-Solomon codes, 2003): quadratic in the number of shares, not cubic.

#include <algorithm>
#include <set>
#include <utility>

#include "base/status.h"
#include "privacy/secagg/gf65536.h"
#include "privacy/secagg/shamir.h"

namespace edgetune::secagg {
namespace {

uint16_t PointOf(const HeldShare& share) {
  return static_cast<uint16_t>(share.index + 1);
}

absl::Status CheckArguments(std::span<const HeldShare> shares,
                            uint32_t threshold) {
  if (threshold < 1 || shares.size() < threshold) {
    return absl::InvalidArgumentError("fewer shares than the threshold");
  }
  std::set<uint32_t> seen;
  for (const HeldShare& share : shares) {
    if (share.share.size() != kSecretSize || share.index >= 65535 ||
        !seen.insert(share.index).second) {
      return absl::InvalidArgumentError(
          "shares have 32 bytes and distinct holders");
    }
  }
  return absl::OkStatus();
}

// Number of coefficients below and with the highest that is not 0.
size_t Length(const GfVector& p) {
  size_t length = p.size();
  while (length > 0 && p[length - 1] == 0) --length;
  return length;
}

uint16_t Evaluate(const GfVector& p, uint16_t x) {
  uint16_t value = 0;
  for (size_t k = p.size(); k-- > 0;) {
    value = static_cast<uint16_t>(GfMultiply(value, x) ^ p[k]);
  }
  return value;
}

// Divides by `divisor`, which is not 0: the quotient, and in `dividend` the
// remainder.
GfVector Divide(GfVector& dividend, const GfVector& divisor) {
  const size_t length = Length(divisor);
  const size_t longest = Length(dividend);
  if (longest < length) return {};
  const uint16_t inverse = GfInverse(divisor[length - 1]);
  GfVector quotient(longest - length + 1);
  for (size_t k = quotient.size(); k-- > 0;) {
    quotient[k] = GfMultiply(dividend[k + length - 1], inverse);
    for (size_t i = 0; i < length; ++i) {
      dividend[k + i] ^= GfMultiply(quotient[k], divisor[i]);
    }
  }
  dividend.resize(length - 1);
  return quotient;
}

// sum -= a * b
void SubtractProduct(const GfVector& a, const GfVector& b, GfVector& sum) {
  if (sum.size() < a.size() + b.size()) sum.resize(a.size() + b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t k = 0; k < b.size(); ++k) {
      sum[i + k] ^= GfMultiply(a[i], b[k]);
    }
  }
}

// product of (x - x_i)
GfVector Locator(std::span<const HeldShare> shares) {
  GfVector product = {1};
  for (const HeldShare& share : shares) {
    product.push_back(0);
    for (size_t k = product.size(); k-- > 0;) {
      product[k] =
          static_cast<uint16_t>(GfMultiply(product[k], PointOf(share)) ^
                                (k > 0 ? product[k - 1] : 0));
    }
  }
  return product;
}

// The 16 polynomials of degree below m through all m shares, side by side:
// coefficient k of polynomial c at [16 k + c].
GfVector Interpolate(std::span<const HeldShare> shares,
                     const GfVector& locator) {
  const size_t m = shares.size();
  GfVector sum(m * kGfBlock);
  GfVector block(kGfBlock), scaled(kGfBlock), others(m);
  for (const HeldShare& share : shares) {
    const uint16_t x = PointOf(share);
    // locator / (x - x_i), by synthetic division.
    uint16_t carry = 0;
    for (size_t k = m; k-- > 0;) {
      carry = static_cast<uint16_t>(GfMultiply(carry, x) ^ locator[k + 1]);
      others[k] = carry;
    }
    GfLoad(share.share, GfBlockAt(block, 0));
    std::fill(scaled.begin(), scaled.end(), 0);
    GfMultiplyAdd(GfInverse(Evaluate(others, x)), GfBlockAt(block, 0),
                  GfBlockAt(scaled, 0));
    for (size_t k = 0; k < m; ++k) {
      GfMultiplyAdd(others[k], GfBlockAt(scaled, 0), GfBlockAt(sum, k));
    }
  }
  return sum;
}

// The polynomial of degree below t that differs from `through` at no more than
// (m - t)/2 roots of `locator`; if there is none, another, which the caller
// finds out by counting.
GfVector Decode(const GfVector& locator, GfVector through, size_t threshold) {
  const size_t m = locator.size() - 1;
  GfVector before = locator, factor_before, factor = {1};
  while (Length(through) > 0 && 2 * (Length(through) - 1) >= m + threshold) {
    const GfVector quotient = Divide(before, through);
    SubtractProduct(quotient, factor, factor_before);
    std::swap(before, through);
    std::swap(factor_before, factor);
  }
  GfVector polynomial = Divide(through, factor);
  polynomial.resize(threshold);
  return polynomial;
}

// All 16 of them side by side.
GfVector DecodeAll(std::span<const HeldShare> shares, size_t threshold) {
  const GfVector locator = Locator(shares);
  const GfVector through = Interpolate(shares, locator);
  GfVector polynomials(threshold * kGfBlock), chunk(shares.size());
  for (size_t c = 0; c < kGfBlock; ++c) {
    for (size_t k = 0; k < chunk.size(); ++k) {
      chunk[k] = through[k * kGfBlock + c];
    }
    const GfVector polynomial = Decode(locator, chunk, threshold);
    for (size_t k = 0; k < threshold; ++k) {
      polynomials[k * kGfBlock + c] = polynomial[k];
    }
  }
  return polynomials;
}

// Whether the share lies on all 16 polynomials.
bool Fits(const HeldShare& share, GfVector& polynomials) {
  GfVector value(kGfBlock), held(kGfBlock);
  for (size_t k = polynomials.size(); k > 0; k -= kGfBlock) {
    GfScaleAdd(PointOf(share), GfBlockAt(polynomials, k / kGfBlock - 1),
               GfBlockAt(value, 0));
  }
  GfLoad(share.share, GfBlockAt(held, 0));
  return value == held;
}

}  // namespace

absl::StatusOr<Corrected> CorrectShares(std::span<const HeldShare> shares,
                                        uint32_t threshold) {
  EDGETUNE_RETURN_IF_ERROR(CheckArguments(shares, threshold));
  GfVector polynomials = DecodeAll(shares, threshold);
  std::vector<uint32_t> bad;
  for (const HeldShare& share : shares) {
    if (!Fits(share, polynomials)) bad.push_back(share.index);
  }
  // Counted over all chunks, because a holder is right or wrong as a whole.
  if (2 * bad.size() > shares.size() - threshold) {
    return absl::DataLossError("too many wrong shares to find the secret");
  }
  std::sort(bad.begin(), bad.end());
  Corrected corrected{SecretBytes(kSecretSize), std::move(bad)};
  GfStore(GfBlockAt(polynomials, 0), corrected.secret.bytes());
  return corrected;
}

}  // namespace edgetune::secagg
