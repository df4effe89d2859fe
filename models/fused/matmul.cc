#include "models/fused/matmul.h"

#include <absl/hash/hash.h>
#include <omp.h>

#include <algorithm>
#include <array>
#include <oneapi/dnnl/dnnl.hpp>
#include <type_traits>
#include <unordered_map>

#include "base/status.h"
#include "models/fused/buffer.h"
#include "models/fused/cpu.h"
#include "models/step_profile.h"

namespace edgetune::fused {
namespace {

using DataType = dnnl::memory::data_type;

// Products of other shapes than these are forgotten when there are so many:
// ragged sequences bring new ones without end.
constexpr size_t kMostKernels = 4096;

constexpr size_t kLongestSum = 1024;

template <typename T>
constexpr DataType kTypeOf = DataType::bf16;
template <>
constexpr DataType kTypeOf<float> = DataType::f32;
template <>
constexpr DataType kTypeOf<int8_t> = DataType::s8;
template <>
constexpr DataType kTypeOf<int32_t> = DataType::s32;

// Everything a kernel is made for.
struct Shape {
  Form form;
  dnnl_dim_t m, n, k;
  std::array<dnnl_dim_t, 3> stride;
  DataType in, out;
  bool add, bias;
  int threads;  // a kernel shares its work among so many

  template <typename H>
  friend H AbslHashValue(H h, const Shape& s) {
    return H::combine(std::move(h), s.form, s.m, s.n, s.k, s.stride, s.in,
                      s.out, s.add, s.bias, s.threads);
  }
  bool operator==(const Shape&) const = default;
};

const dnnl::engine& Cpu() {
  static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

class Kernel {
 public:
  explicit Kernel(const Shape& shape) {
    using Desc = dnnl::memory::desc;
    using Dims = dnnl::memory::dims;
    const auto strides = [](dnnl_dim_t stride, bool transposed) {
      return transposed ? Dims{1, stride} : Dims{stride, 1};
    };
    const Desc a({shape.m, shape.k}, shape.in,
                 strides(shape.stride[0], shape.form == Form::kAtB));
    const Desc b({shape.k, shape.n}, shape.in,
                 strides(shape.stride[1], shape.form == Form::kABt));
    const Desc c({shape.m, shape.n}, shape.out,
                 strides(shape.stride[2], false));
    const Desc bias({1, shape.n}, DataType::f32, Dims{shape.n, 1});
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (shape.add) {
      dnnl::post_ops sum;
      sum.append_sum(1.0f);
      attributes.set_post_ops(sum);
    }
    const auto description = shape.bias ? dnnl::matmul::desc(a, b, bias, c)
                                        : dnnl::matmul::desc(a, b, c);
    const dnnl::matmul::primitive_desc chosen(description, attributes, Cpu());
    product_ = dnnl::matmul(chosen);
    scratch_bytes_ = chosen.scratchpad_desc().get_size();
    a_ = dnnl::memory(a, Cpu(), nullptr);
    b_ = dnnl::memory(b, Cpu(), nullptr);
    c_ = dnnl::memory(c, Cpu(), nullptr);
    if (shape.bias) bias_ = dnnl::memory(bias, Cpu(), nullptr);
    scratch_ = dnnl::memory(chosen.scratchpad_desc(), Cpu(), nullptr);
  }

  void Run(const void* a, const void* b, void* c, const float* bias) {
    // oneDNN takes pointers to what it only reads as mutable.
    // One for all kernels of a thread: a kernel that keeps its own takes some
    // hundred kilobytes a thread, and there are many shapes.
    thread_local Buffer<uint8_t> scratch;
    scratch.Reserve(scratch_bytes_);
    a_.set_data_handle(const_cast<void*>(a));
    b_.set_data_handle(const_cast<void*>(b));
    c_.set_data_handle(c);
    scratch_.set_data_handle(scratch.data());
    if (bias != nullptr) bias_.set_data_handle(const_cast<float*>(bias));
    std::array<dnnl_exec_arg_t, 5> arguments = {
        {{DNNL_ARG_SRC, a_.get()},
         {DNNL_ARG_WEIGHTS, b_.get()},
         {DNNL_ARG_DST, c_.get()},
         {DNNL_ARG_SCRATCHPAD, scratch_.get()}}};
    int count = 4;
    if (bias != nullptr) arguments[count++] = {DNNL_ARG_BIAS, bias_.get()};
    thread_local dnnl::stream stream(Cpu());
    // The C++ function would make a list of its own of the arguments.
    dnnl::error::wrap_c_api(dnnl_primitive_execute(product_.get(), stream.get(),
                                                   count, arguments.data()),
                            "could not execute a product");
    stream.wait();
  }

 private:
  dnnl::matmul product_;
  size_t scratch_bytes_ = 0;
  dnnl::memory a_, b_, c_, bias_, scratch_;  // point to where Run is told
};

Kernel& KernelFor(const Shape& shape) {
  thread_local std::unordered_map<Shape, Kernel, absl::Hash<Shape>> kernels;
  const auto found = kernels.find(shape);
  if (found != kernels.end()) return found->second;
  if (kernels.size() >= kMostKernels) kernels.clear();
  return kernels.try_emplace(shape, shape).first->second;
}

}  // namespace

// A B of a long sum, a piece after the other added up: oneDNN's kernels for AMX
// read B whole for every few rows of A, so B must stay in the second-level
// cache. Measured there: K = 3,072 in one product 0.56 TFLOP/s, in three 0.9.
// Others take a whole product at full speed, and parts, whose rows of A have
// gaps, at half of it (Zen 5: 0.9 and 0.55 TFLOP/s).
template <typename T>
void MultiplyInParts(const Rows<const T>& a, const Rows<const T>& b,
                     const Rows<float>& c, ProductOptions options) {
  for (size_t begin = 0; begin < a.width; begin += kLongestSum) {
    const size_t width = std::min(kLongestSum, a.width - begin);
    Multiply(Form::kAB, Rows<const T>{a.data + begin, a.rows, width, a.stride},
             Rows<const T>{b.row(begin), width, b.width, b.stride}, c, options);
    options = {.add = true};
  }
}

template <typename T, typename C>
void Multiply(Form form, const Rows<const T>& a, const Rows<const T>& b,
              const Rows<C>& c, const ProductOptions& options) {
  const size_t k = form == Form::kAtB ? a.rows : a.width;
  const bool fits = (form == Form::kAtB ? a.width : a.rows) == c.rows &&
                    (form == Form::kABt ? b.width : b.rows) == k &&
                    (form == Form::kABt ? b.rows : b.width) == c.width;
  EDGETUNE_CHECK(fits);
  if (c.rows == 0 || c.width == 0 || k == 0) return;
  const ProfileScope scope(StepPart::kProducts,
                           2.0 * static_cast<double>(c.rows) *
                               static_cast<double>(c.width) *
                               static_cast<double>(k));
  if constexpr (std::is_same_v<C, float>) {
    static const bool parts = CpuHasTiles();
    if (parts && form == Form::kAB && k > kLongestSum) {
      return MultiplyInParts(a, b, c, options);
    }
  }
  const auto dim = [](size_t n) { return static_cast<dnnl_dim_t>(n); };
  const Shape shape{.form = form,
                    .m = dim(c.rows),
                    .n = dim(c.width),
                    .k = dim(k),
                    .stride = {dim(a.stride), dim(b.stride), dim(c.stride)},
                    .in = kTypeOf<T>,
                    .out = kTypeOf<C>,
                    .add = options.add,
                    .bias = options.bias != nullptr,
                    .threads = omp_get_max_threads()};
  KernelFor(shape).Run(a.data, b.data, c.data, options.bias);
}

template void Multiply(Form, const Rows<const float>&, const Rows<const float>&,
                       const Rows<float>&, const ProductOptions&);
template void Multiply(Form, const Rows<const BFloat16>&,
                       const Rows<const BFloat16>&, const Rows<BFloat16>&,
                       const ProductOptions&);
template void Multiply(Form, const Rows<const BFloat16>&,
                       const Rows<const BFloat16>&, const Rows<float>&,
                       const ProductOptions&);
template void Multiply(Form, const Rows<const int8_t>&,
                       const Rows<const int8_t>&, const Rows<int32_t>&,
                       const ProductOptions&);

}  // namespace edgetune::fused
