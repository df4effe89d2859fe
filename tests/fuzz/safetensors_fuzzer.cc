// A safetensors file of others: what is accepted is written again and reads the
// same.

#include <string>

#include "models/io/hf/safetensors.h"
#include "tests/fuzz/target.h"

namespace edgetune::fuzz {
namespace {

void RequireSameAgain(const SafetensorsFile& file) {
  const auto text = SerialiseSafetensors(file.tensors());
  Require(text.ok(), "what was read can be written");
  const auto again = SafetensorsFile::Parse(
      {reinterpret_cast<const uint8_t*>(text->data()), text->size()});
  Require(again.ok(), "and read again");
  Require((*again)->tensors().size() == file.tensors().size(), "all of it");
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const SafeTensor& before = file.tensors()[i];
    const SafeTensor& after = (*again)->tensors()[i];
    Require(before.name == after.name && before.dtype == after.dtype &&
                before.shape == after.shape &&
                std::ranges::equal(before.data, after.data),
            "with the same tensors");
  }
}

}  // namespace
}  // namespace edgetune::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace edgetune;  // NOLINT
  const auto file = SafetensorsFile::Parse({data, size});
  if (!file.ok()) return 0;
  for (const SafeTensor& tensor : (*file)->tensors()) {
    fuzz::Require(tensor.data.data() >= data &&
                      tensor.data.data() + tensor.data.size() <= data + size,
                  "tensors lie inside the file");
    const auto floats = ReadFloats(tensor);
    if (floats.ok()) {
      uint64_t count = 1;
      for (const int64_t side : tensor.shape)
        count *= static_cast<uint64_t>(side);
      fuzz::Require(floats->size() == count, "as many as the shape says");
    }
  }
  fuzz::RequireSameAgain(**file);
  return 0;
}
