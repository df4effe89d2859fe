#include "bench/lora.h"

#include "base/status.h"

namespace edgetune::bench {

absl::StatusOr<Adapter> InitialLora(const ModelConfig& model) {
  Adapter adapter;
  adapter.spec.rank = 8;
  adapter.spec.alpha = 16;
  adapter.spec.targets = {"q_proj", "k_proj", "v_proj", "o_proj"};
  EDGETUNE_ASSIGN_OR_RETURN(adapter.layout,
                            AdapterLayoutOf(model, adapter.spec));
  adapter.values = InitialAdapter(adapter.layout, 1);
  return adapter;
}

}  // namespace edgetune::bench
