// limits_bench [--threads N] [--shapes table|step]: what this machine can do.
// Matrix products of oneDNN in float32, bfloat16 and int8, and reading memory.
// `table`: the shapes of the design. `step`: those of one LoRA step of
// SmolLM2-135M, and the tokens per second that they alone would allow. Prints
// one JSON object.

#include <omp.h>

#include <algorithm>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/status.h"
#include "bench/arguments.h"
#include "bench/timing.h"

namespace edgetune {
namespace {

using dnnl::memory;
using nlohmann::json;
using DataType = memory::data_type;

constexpr int64_t kRows = 1024;  // M
constexpr int kRuns = 20;
constexpr double kLongest = 4;  // seconds after which runs end

// Work of one token of a LoRA step at 256 tokens a sequence: products of frozen
// weights forward and backward, attention, adapters.
constexpr double kFlopsPerToken = 575e6;
constexpr int64_t kLayers = 30, kHidden = 576, kQkv = 960, kGateUp = 3072,
                  kFfn = 1536, kVocab = 49152;

// How the second factor lies in memory: [K,N]; [N,K], read transposed; as
// oneDNN likes it.
enum class Layout { kPlain, kTransposed, kPacked };

struct Shape {
  int64_t k, n;
  Layout layout;
  int64_t times = 1;  // in a step
};

struct Type {
  const char* name;
  DataType in, out;
};
constexpr Type kTypes[] = {{"fp32", DataType::f32, DataType::f32},
                           {"bf16", DataType::bf16, DataType::bf16},
                           {"int8", DataType::s8, DataType::s32}};

const char* NameOf(Layout layout) {
  if (layout == Layout::kPlain) return "plain";
  return layout == Layout::kTransposed ? "transposed" : "packed";
}

memory Filled(const memory::desc& desc, const dnnl::engine& cpu) {
  memory out(desc, cpu);
  // Small numbers of every type (1.0 as bfloat16 twice is one as float32).
  const uint32_t one = 0x3f803f80;
  auto* data = static_cast<char*>(out.get_data_handle());
  for (size_t i = 0; i + sizeof(one) <= desc.get_size(); i += sizeof(one)) {
    std::memcpy(data + i, &one, sizeof(one));
  }
  return out;
}

double SecondsOf(const Type& type, const Shape& shape) {
  const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  dnnl::stream stream(cpu);
  using Tag = memory::format_tag;
  const Tag tag = shape.layout == Layout::kPlain        ? Tag::ab
                  : shape.layout == Layout::kTransposed ? Tag::ba
                                                        : Tag::any;
  const memory::desc a({kRows, shape.k}, type.in, Tag::ab);
  const memory::desc b({shape.k, shape.n}, type.in, tag);
  const memory::desc c({kRows, shape.n}, type.out, Tag::ab);
  const dnnl::matmul::primitive_desc description(dnnl::matmul::desc(a, b, c),
                                                 cpu);
  dnnl::matmul product(description);
  const std::unordered_map<int, memory> arguments = {
      {DNNL_ARG_SRC, Filled(a, cpu)},
      {DNNL_ARG_WEIGHTS, Filled(description.weights_desc(), cpu)},
      {DNNL_ARG_DST, memory(c, cpu)}};
  return bench::Quickest(kRuns, kLongest, [&] {
    product.execute(stream, arguments);
    stream.wait();
  });
}

double FlopsOf(const Shape& shape) {
  return 2.0 * static_cast<double>(kRows * shape.k * shape.n);
}

json Table(int threads) {
  json rows = json::array();
  for (const Type& type : kTypes) {
    for (const auto& [k, n] : {std::pair<int64_t, int64_t>{576, 576},
                               {576, 1536},
                               {1536, 576},
                               {576, 49152}}) {
      for (const Layout layout :
           {Layout::kPlain, Layout::kTransposed, Layout::kPacked}) {
        const Shape shape = {.k = k, .n = n, .layout = layout};
        const double rate = FlopsOf(shape) / SecondsOf(type, shape) / 1e12;
        rows.push_back({{"type", type.name},
                        {"k", k},
                        {"n", n},
                        {"layout", NameOf(layout)},
                        {"threads", threads},
                        {"tflops", rate}});
      }
    }
  }
  return rows;
}

// The products of a step: of linears of `in` to `out` numbers, whose weights
// are [out, in], first forward, then backward.
std::vector<Shape> StepShapes() {
  std::vector<Shape> shapes;
  const auto add = [&](int64_t in, int64_t out, int64_t times) {
    shapes.push_back({in, out, Layout::kTransposed, times});
    shapes.push_back({out, in, Layout::kPlain, times});
  };
  add(kHidden, kQkv, kLayers);
  add(kHidden, kHidden, kLayers);
  add(kHidden, kGateUp, kLayers);
  add(kFfn, kHidden, kLayers);
  add(kHidden, kVocab, 1);
  return shapes;
}

// What all products of a step take when the weights lie as the engine has
// them, packed, and each in the quicker of the two ways: TFLOP/s, and tokens
// per second of kFlopsPerToken at that rate.
json StepLimits(const Type& type) {
  double flops = 0, unpacked = 0, packed = 0, best = 0;
  for (Shape shape : StepShapes()) {
    const auto times = static_cast<double>(shape.times);
    flops += times * FlopsOf(shape);
    const double as_it_is = SecondsOf(type, shape);
    shape.layout = Layout::kPacked;
    const double as_liked = SecondsOf(type, shape);
    unpacked += times * as_it_is;
    packed += times * as_liked;
    best += times * std::min(as_it_is, as_liked);
  }
  const auto limit = [&](double seconds) -> json {
    const double rate = flops / seconds;
    return {{"tflops", rate / 1e12}, {"tokens_per_s", rate / kFlopsPerToken}};
  };
  return {{"unpacked", limit(unpacked)},
          {"packed", limit(packed)},
          {"best", limit(best)}};
}

json Step() {
  json out;
  for (const Type& type : kTypes) {
    if (type.in != DataType::s8) out[type.name] = StepLimits(type);
  }
  return out;
}

absl::Status Run(int argc, char** argv) {
  EDGETUNE_ASSIGN_OR_RETURN(
      const bench::Arguments arguments,
      bench::ParseArguments(argc, argv, 0,
                            {{"threads", "0"}, {"shapes", "table"}}));
  const auto asked = static_cast<int>(arguments.Number("threads"));
  const int threads = asked > 0 ? asked : omp_get_num_procs();
  omp_set_num_threads(threads);
  json out = {{"threads", threads}, {"rows", kRows}};
  if (arguments.Text("shapes") == "step") {
    out["step"] = Step();
  } else {
    out["products"] = Table(threads);
    out["read_gb_per_s"] = bench::ReadRate(size_t{1} << 30);
  }
  std::cout << out << "\n";
  return absl::OkStatus();
}

}  // namespace
}  // namespace edgetune

int main(int argc, char** argv) {
  return edgetune::bench::ExitCodeOf("limits_bench", edgetune::Run(argc, argv));
}
