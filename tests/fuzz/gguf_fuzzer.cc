// A GGUF of others: opened as the container it is, as a base model and as an
// adapter of a fixed model.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "models/io/adapter/adapter_file.h"
#include "models/io/gguf/gguf.h"
#include "models/io/model_file.h"
#include "tests/fuzz/target.h"

namespace edgetune::fuzz {
namespace {

// Readers want a path: bytes in memory that have one.
class MemoryFile {
 public:
  explicit MemoryFile(std::span<const uint8_t> bytes)
      : descriptor_(memfd_create("fuzz", MFD_CLOEXEC)) {
    Require(write(descriptor_, bytes.data(), bytes.size()) ==
                static_cast<ssize_t>(bytes.size()),
            "memory takes the input");
  }
  ~MemoryFile() { close(descriptor_); }
  std::string path() const {
    return "/proc/self/fd/" + std::to_string(descriptor_);
  }

 private:
  const int descriptor_;
};

ModelConfig FixedModel() {
  ModelConfig model;
  model.architecture = "llama";
  model.hidden = 8, model.ffn = 8, model.layers = 1, model.heads = 1;
  model.kv_heads = 1, model.head_dim = 8, model.vocab = 10, model.context = 32;
  return model;
}

void RequireInside(const GgufFile& file, std::span<const uint8_t> bytes) {
  const uint8_t* end = bytes.data();
  for (const GgufTensor& tensor : file.tensors()) {
    Require(tensor.data.data() >= end, "tensors follow each other");
    end = tensor.data.data() + tensor.data.size();
    Require(end <= bytes.data() + bytes.size(), "inside the file");
    const BlockShape shape = BlockShapeOf(tensor.type);
    uint64_t values = 1;
    for (const int64_t side : tensor.shape)
      values *= static_cast<uint64_t>(side);
    Require(values / shape.elements * shape.bytes == tensor.data.size(),
            "as many bytes as the shape says");
    Require(file.FindTensor(tensor.name) == &tensor, "found by its name");
  }
}

void ReadEverything(const ModelFile& model) {
  for (const TensorInfo& tensor : model.tensors()) {
    const auto columns = static_cast<size_t>(tensor.columns());
    std::vector<float> row(columns);
    Require(
        model.ReadRows(tensor.name, tensor.rows() - 1, tensor.rows(), row).ok(),
        "the last row is there");
    Require(!model.ReadRows(tensor.name, tensor.rows(), tensor.rows() + 1, row)
                 .ok(),
            "and no more");
  }
  model.tokenizer().Encode("The 12 ca\xC3\xA9s'S\n\n  <|im_end|>", true);
}

}  // namespace
}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune;  // NOLINT
  const std::span<const uint8_t> bytes(data, size);
  const auto file = GgufFile::Parse(bytes);
  if (!file.ok()) return 0;
  fuzz::RequireInside(**file, bytes);
  const fuzz::MemoryFile on_disk(bytes);
  const auto model = ModelFile::Open(on_disk.path());
  if (model.ok()) fuzz::ReadEverything(**model);
  const auto adapter = ReadAdapter(on_disk.path(), fuzz::FixedModel());
  if (adapter.ok()) {
    fuzz::Require(AdapterLayoutOf(fuzz::FixedModel(), adapter->spec).value() ==
                      adapter->layout,
                  "an adapter has the layout of its specification");
  }
  return 0;
}
