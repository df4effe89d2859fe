#include "models/fused/head.h"

#include <algorithm>

#include "models/fused/matmul.h"
#include "models/fused/parallel.h"

namespace edgetune::fused {
namespace {

// Rows of logits that exist at once: 25 MB of them for 49,152 tokens.
constexpr size_t kChunk = 128;

}  // namespace

template <typename T>
Rows<const float> Head<T>::Collect(const Rows<const float>& x,
                                   std::span<const size_t> rows) {
  const auto out = collected_.Make(rows.size(), x.width);
  for (size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(x.row(rows[i]), x.width, out.row(i));
  }
  return Const(out);
}

template <typename T>
Rows<const float> Head<T>::Logits(const Rows<const float>& x) {
  const auto normed = normed_.Make(x.rows, x.width);
  ForRows(x.rows, [&](size_t begin, size_t end) {
    RmsNorm(RowRange(x, begin, end), gain_, epsilon_,
            RowRange(normed, begin, end));
  });
  const auto logits = logits_.Make(x.rows, projection_.rows);
  Multiply(Form::kABt, Const(normed), projection_, logits);
  return Const(logits);
}

template <typename T>
void Head<T>::Nll(const Rows<const float>& x, std::span<const size_t> rows,
                  std::span<const int32_t> tokens, std::span<float> nll) {
  for (size_t begin = 0; begin < rows.size(); begin += kChunk) {
    const size_t n = std::min(kChunk, rows.size() - begin);
    const auto logits = Logits(Collect(x, rows.subspan(begin, n)));
    ForRows(n, [&](size_t first, size_t last) {
      CrossEntropy(RowRange(logits, first, last), &tokens[begin + first],
                   &nll[begin + first]);
    });
  }
}

template <typename T>
double Head<T>::Gradient(const Rows<const float>& x,
                         std::span<const size_t> rows,
                         std::span<const int32_t> tokens, double weight,
                         const Rows<float>& dx) {
  const auto gradients = dcollected_.Make(rows.size(), x.width);  // [N,D]
  double sum = 0;
  for (size_t begin = 0; begin < rows.size(); begin += kChunk) {
    const size_t n = std::min(kChunk, rows.size() - begin);
    const auto chunk = Collect(x, rows.subspan(begin, n));
    const auto logits = Logits(chunk);
    const auto dlogits = dlogits_.Make(n, logits.width);
    nll_.Reserve(n);
    ForRows(n, [&](size_t first, size_t last) {
      CrossEntropyGradient(RowRange(logits, first, last),
                           &tokens[begin + first], static_cast<float>(weight),
                           nll_.data() + first, RowRange(dlogits, first, last));
    });
    for (size_t i = 0; i < n; ++i) sum += nll_.data()[i];
    // The normed rows are not needed again: their gradient takes their place.
    const auto dnormed = normed_.As(n, x.width);
    Multiply(Form::kAB, Const(dlogits), projection_, dnormed);
    const auto part = RowRange(gradients, begin, begin + n);
    ForRows(n, [&](size_t first, size_t last) {
      std::fill_n(part.row(first), (last - first) * part.width, 0.0f);
      AddRmsNormGradient(RowRange(chunk, first, last), gain_, epsilon_,
                         Const(RowRange(dnormed, first, last)),
                         RowRange(part, first, last));
    });
  }
  std::fill_n(dx.data, dx.rows * dx.width, 0.0f);
  for (size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(gradients.row(i), dx.width, dx.row(rows[i]));
  }
  return sum;
}

template class Head<float>;
template class Head<BFloat16>;

}  // namespace edgetune::fused
