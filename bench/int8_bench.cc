// int8_bench [--threads N] [--rows M] [--layers L]: products with weights in
// int8 beside those that the engine makes without (bfloat16 where the processor
// has it, else float32), for the linears of SmolLM2-135M, forward and backward,
// each with the weights of L layers in turn. Prints one JSON object.

#include <algorithm>
#include <cmath>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/thread_count.h"
#include "bench/arguments.h"
#include "bench/timing.h"
#include "models/fused/cpu.h"
#include "models/fused/int8_kernels.h"
#include "models/fused/int8_product.h"
#include "models/fused/parallel.h"

namespace edgetune {
namespace {

using fused::BFloat16;
using fused::Buffer;
using fused::Const;
using fused::Form;
using fused::Rows;
using nlohmann::json;

constexpr double kSeconds = 0.4;  // of each product
constexpr int kFewestRuns = 5;

// A linear of `in` to `out` numbers.
struct Linear {
  size_t in, out;
};
constexpr Linear kLinears[] = {
    {576, 960}, {576, 576}, {576, 3072}, {1536, 576}};

// The quickest run of each in seconds, all in turn, after one that warms up.
std::vector<double> Quickest(const std::vector<std::function<void()>>& works) {
  std::vector<double> best(works.size(), 1e9);
  for (const auto& work : works) work();
  const double end =
      bench::Now() + kSeconds * static_cast<double>(works.size());
  for (int run = 0; run < kFewestRuns || bench::Now() < end; ++run) {
    for (size_t i = 0; i < works.size(); ++i) {
      const double start = bench::Now();
      works[i]();
      best[i] = std::min(best[i], bench::Now() - start);
    }
  }
  return best;
}

// The weights of a layer in both forms.
template <typename T>
struct Layer {
  explicit Layer(const Linear& linear) : bytes(linear.out, linear.in) {
    Buffer<float> buffer(linear.in);
    float* const row = buffer.data();
    const Rows<T> all = values.Make(linear.out, linear.in);
    for (size_t i = 0; i < linear.out; ++i) {
      for (size_t j = 0; j < linear.in; ++j) {
        row[j] = std::sin(static_cast<float>(i + 97 * j));
      }
      fused::Convert(row, linear.in, all.row(i));
      fused::QuantiseRow(row, i, bytes);
    }
  }
  Rows<const T> plain() const { return Const(values.As(bytes.rows, width())); }
  Rows<const int8_t> integers() const {
    return Const(bytes.values.As(bytes.rows, width()));
  }
  size_t width() const { return bytes.width; }

  Buffer<T> values;
  fused::Int8Matrix bytes;
};

// TOP/s of one linear in one direction.
template <typename T>
json RatesOf(const Linear& linear, bool forward, size_t rows, size_t layers) {
  const size_t in = forward ? linear.in : linear.out;
  const size_t out = forward ? linear.out : linear.in;
  const Form form = forward ? Form::kABt : Form::kAB;
  std::vector<Layer<T>> weights;
  for (size_t i = 0; i < layers; ++i) weights.emplace_back(linear);
  Buffer<T> x_buffer, y_buffer;
  const Rows<T> x = x_buffer.Make(rows, in), y = y_buffer.Make(rows, out);
  for (size_t i = 0; i < rows * in; ++i) {
    x.data[i] = fused::FromFloat<T>(std::cos(static_cast<float>(i)));
  }
  Buffer<int8_t> a_buffer;
  Buffer<int32_t> sums_buffer;
  Buffer<float> scales(rows);
  const auto a = a_buffer.Make(rows, in);
  const auto sums = sums_buffer.Make(rows, out);
  fused::QuantiseRows(Const(x), nullptr, a, scales.data());
  fused::Int8Workspace chosen, highway(false);

  const auto through = [&](fused::Int8Workspace& workspace) {
    for (const Layer<T>& w : weights) {
      if (forward) {
        workspace.Forward(Const(x), w.bytes, nullptr, false, y);
      } else {
        workspace.Backward(Const(x), w.bytes, y);
      }
    }
  };
  std::vector<std::string> names = {"plain", "int8", "int8_highway"};
  std::vector<std::function<void()>> works = {
      [&] {
        for (const Layer<T>& w : weights) {
          fused::Multiply(form, Const(x), w.plain(), y);
        }
      },
      [&] { through(chosen); }, [&] { through(highway); }};
  if (fused::CpuMultipliesInt8()) {
    names.push_back("integers_alone");
    works.push_back([&] {
      for (const Layer<T>& w : weights) {
        fused::Multiply(form, Const(a), w.integers(), sums);
      }
    });
  }
  const std::vector<double> seconds = Quickest(works);
  json rates = {{"k", in}, {"n", out}, {"forward", forward}};
  for (size_t i = 0; i < names.size(); ++i) {
    rates[names[i]] =
        2e-12 * static_cast<double>(rows * in * out * layers) / seconds[i];
  }
  return rates;
}

absl::Status Run(int argc, char** argv) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const bench::Arguments arguments,
      bench::ParseArguments(
          argc, argv, 0,
          {{"threads", "0"}, {"rows", "1024"}, {"layers", "1"}}));
  const int threads =
      ThreadCount(static_cast<int>(arguments.Number("threads")));
  const auto rows = static_cast<size_t>(arguments.Number("rows"));
  const auto layers = static_cast<size_t>(arguments.Number("layers"));
  fused::UseThreads(threads);
  const bool bf16 = fused::CpuMultipliesBf16();
  json products = json::array();
  for (const Linear& linear : kLinears) {
    for (const bool forward : {true, false}) {
      products.push_back(bf16 ? RatesOf<BFloat16>(linear, forward, rows, layers)
                              : RatesOf<float>(linear, forward, rows, layers));
    }
  }
  std::cout << json{{"threads", threads},
                    {"rows", rows},
                    {"layers", layers},
                    {"plain", bf16 ? "bf16" : "fp32"},
                    {"onednn", fused::CpuMultipliesInt8()},
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
