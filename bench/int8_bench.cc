// int8_bench [--threads N] [--rows M] [--layers L]: products with weights in
// int8 beside the same in bfloat16, for the linears of SmolLM2-135M, forward
// and backward. Prints one JSON object.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/status.h"
#include "bench/arguments.h"
#include "models/fused/int8_kernels.h"
#include "models/fused/int8_product.h"
#include "models/fused/parallel.h"

namespace edgetune {
namespace {

using fused::BFloat16;
using fused::Buffer;
using fused::Form;
using fused::Rows;
using nlohmann::json;

constexpr double kSeconds = 0.15;  // for each product in turn
constexpr int kFewestRuns = 10;

// A linear of `in` to `out` numbers.
struct Linear {
  size_t in, out;
};
constexpr Linear kLinears[] = {
    {576, 960}, {576, 576}, {576, 3072}, {1536, 576}};

double Now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// The quickest run of each in seconds, all in turn.
std::vector<double> Quickest(const std::vector<std::function<void()>>& works) {
  std::vector<double> best(works.size(), 1e9);
  for (const auto& work : works) work();
  const double end = Now() + kSeconds * static_cast<double>(works.size());
  for (int run = 0; run < kFewestRuns || Now() < end; ++run) {
    for (size_t i = 0; i < works.size(); ++i) {
      const double start = Now();
      works[i]();
      best[i] = std::min(best[i], Now() - start);
    }
  }
  return best;
}

template <typename T>
void Fill(const Rows<T>& rows) {
  for (size_t i = 0; i < rows.rows * rows.width; ++i) {
    rows.data[i] = fused::FromFloat<T>(std::sin(static_cast<float>(i % 10007)));
  }
}

// One linear in one direction.
json RatesOf(const Linear& linear, size_t rows, bool forward) {
  const size_t in = forward ? linear.in : linear.out;
  const size_t out = forward ? linear.out : linear.in;
  const Form form = forward ? Form::kABt : Form::kAB;
  Buffer<BFloat16> x_buffer, y_buffer, w_buffer;
  Buffer<float> row_buffer;
  const auto x = x_buffer.Make(rows, in), y = y_buffer.Make(rows, out);
  const auto w = w_buffer.Make(linear.out, linear.in);
  Fill(x);
  Fill(w);
  fused::Int8Matrix bytes(linear.out, linear.in);
  const auto row = row_buffer.Make(1, linear.in);
  for (size_t i = 0; i < linear.out; ++i) {
    fused::Widen(w.row(i), linear.in, row.data);
    fused::QuantiseRow(row.data, i, bytes);
  }
  const auto through = [&](fused::Int8Workspace& workspace) {
    if (forward) {
      workspace.Forward(fused::Const(x), bytes, nullptr, false, y);
    } else {
      workspace.Backward(fused::Const(x), bytes, y);
    }
  };
  Buffer<int8_t> a_buffer;
  Buffer<int32_t> sums_buffer;
  Buffer<float> scales(rows);
  const auto a = a_buffer.Make(rows, in);
  const auto sums = sums_buffer.Make(rows, out);
  fused::QuantiseRows(fused::Const(x), nullptr, a, scales.data());
  fused::Int8Workspace onednn(true), highway(false);
  const double flops = 2.0 * static_cast<double>(rows * in * out);
  const auto best = Quickest(
      {[&] { fused::Multiply(form, fused::Const(x), fused::Const(w), y); },
       [&] {
         fused::Multiply(form, fused::Const(a),
                         fused::Const(bytes.values.As(linear.out, linear.in)),
                         sums);
       },
       [&] { through(onednn); }, [&] { through(highway); }});
  return {{"k", in},
          {"n", out},
          {"direction", forward ? "forward" : "backward"},
          {"bf16", flops / best[0] / 1e12},
          {"int8_alone", flops / best[1] / 1e12},
          {"int8", flops / best[2] / 1e12},
          {"int8_highway", flops / best[3] / 1e12}};
}

absl::Status Run(int argc, char** argv) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const bench::Arguments arguments,
      bench::ParseArguments(argc, argv, 0,
                            {{"threads", "0"}, {"rows", "1024"}}));
  const int threads =
      fused::ThreadCount(static_cast<int>(arguments.Number("threads")));
  const auto rows = static_cast<size_t>(arguments.Number("rows"));
  fused::UseThreads(threads);
  json products = json::array();
  for (const Linear& linear : kLinears) {
    for (const bool forward : {true, false}) {
      products.push_back(RatesOf(linear, rows, forward));
      std::cerr << products.back().dump() << "\n";
    }
  }
  std::cout << json{{"threads", threads},
                    {"rows", rows},
                    {"kernels", fused::VectorTarget()},
                    {"products", products}}
            << "\n";
  return absl::OkStatus();
}

}  // namespace
}  // namespace edgetune

int main(int argc, char** argv) {
  return edgetune::bench::ExitCodeOf("int8_bench", edgetune::Run(argc, argv));
}
