#include "aggregation/product_mean.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <limits>

#include "base/status.h"

namespace edgetune {
namespace {

using Matrix = Eigen::MatrixXd;
using FloatRows =
    Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::Index Index(size_t value) { return static_cast<Eigen::Index>(value); }

Matrix MatrixOf(std::span<const float> values, size_t rows, size_t columns) {
  EDGETUNE_CHECK(values.size() == rows * columns);
  return Eigen::Map<const FloatRows>(values.data(), Index(rows), Index(columns))
      .cast<double>();
}

// Q [rows, k] with orthonormal columns and R [k, columns], k the smaller side.
struct Orthogonal {
  Matrix q, r;
};
Orthogonal ThinQr(const Matrix& matrix) {
  const Eigen::Index k = std::min(matrix.rows(), matrix.cols());
  const Eigen::HouseholderQR<Matrix> qr(matrix);
  Orthogonal out;
  out.q = qr.householderQ() * Matrix::Identity(matrix.rows(), k);
  out.r = qr.matrixQR().topRows(k).triangularView<Eigen::Upper>();
  return out;
}

// The k right singular vectors of the largest singular values, as eigenvectors
// of core^T core. Singular values below 1e-8 of the largest are not told from
// each other so, which is less than float32 keeps of the factors; nothing is
// divided by one. Eigen 3.4's BDCSVD was wrong by 1e-4 of the largest, or gave
// NaNs, for three in a thousand of the matrices of low rank that come up here,
// and its JacobiSVD takes fifteen times as long.
Matrix RightVectors(const Matrix& core, Eigen::Index k) {
  EDGETUNE_CHECK(core.cols() >= k);
  const Eigen::SelfAdjointEigenSolver<Matrix> eigen(core.transpose() * core);
  return eigen.eigenvectors().rightCols(k).rowwise().reverse();
}

void Store(const Matrix& matrix, ParameterVector& out) {
  out.resize(static_cast<size_t>(matrix.size()));
  Eigen::Map<FloatRows>(out.data(), matrix.rows(), matrix.cols()) =
      matrix.cast<float>();
}

}  // namespace

NearestFactors NearestToSum(std::span<const LoraProduct> products,
                            const ModuleShape& shape) {
  size_t ranks = 0;
  for (const LoraProduct& product : products) ranks += product.rank;
  Matrix left(Index(shape.out), Index(ranks));
  Matrix right(Index(shape.in), Index(ranks));
  Eigen::Index at = 0;
  for (const LoraProduct& product : products) {
    const Eigen::Index rank = Index(product.rank);
    left.middleCols(at, rank) =
        product.share * MatrixOf(product.b, shape.out, product.rank);
    right.middleCols(at, rank) =
        MatrixOf(product.a, product.rank, shape.in).transpose();
    at += rank;
  }
  const Orthogonal l = ThinQr(left), r = ThinQr(right);
  const Matrix core = l.r * r.r.transpose();
  const Eigen::Index k = Index(shape.rank);
  const Matrix v = RightVectors(core, k);
  const Matrix scaled = core * v;  // U S
  Matrix b = l.q * scaled;
  Matrix a = (r.q * v).transpose();
  for (Eigen::Index i = 0; i < k; ++i) {
    Eigen::Index largest = 0;
    a.row(i).cwiseAbs().maxCoeff(&largest);
    if (a(i, largest) >= 0) continue;
    a.row(i) *= -1;
    b.col(i) *= -1;
  }
  NearestFactors out;
  Store(a, out.a);
  Store(b, out.b);
  out.energy = core.squaredNorm();
  out.kept = scaled.squaredNorm();
  const double nothing = std::numeric_limits<double>::epsilon() *
                         static_cast<double>(ranks) * l.r.norm() * r.r.norm();
  for (Eigen::Index i = 0; i < k; ++i) {
    if (scaled.col(i).norm() > nothing) {
      out.significant = static_cast<size_t>(i) + 1;
    }
  }
  return out;
}

}  // namespace edgetune
