#include "tests/testing/tiny_model.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/status.h"
#include "models/io/model_writer.h"
#include "models/io/quantise/quantise.h"

namespace edgetune::testing {
namespace {

constexpr const char* kMerges[] = {
    "Ġ t", "h e", "Ġ a",  "i n",  "Ġt he", "r e", "o n",  "Ġ s",   "e r",
    "a t", "n d", "Ġ o",  "Ġ w",  "e n",   "i s", "Ġ c",  "o r",   "in g",
    "i t", "a n", "Ġ f",  "e s",  "e d",   "Ġ p", "Ġo f", "Ġa nd", "Ġ b",
    "a l", "l e", "Ġ in", "Ġ Ġ",  "Ġ d",   "a r", "o u",  "Ġt o",  "u s",
    "o m", "Ġ m", "l y",  "Ġ is", "s t"};

std::string Utf8Of(int code) {
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | code >> 6),
          static_cast<char>(0x80 | (code & 0x3F))};
}

// The byte alphabet in the order of bytes.
std::vector<std::string> ByteTokens() {
  std::vector<std::string> out;
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool itself = (byte >= 33 && byte <= 126) ||
                        (byte >= 161 && byte <= 172) || byte >= 174;
    out.push_back(Utf8Of(itself ? byte : next++));
  }
  return out;
}

void SetTokenizer(const TinyModelOptions& o, GgufWriter* writer) {
  std::vector<std::string> tokens = {"<|endoftext|>", "<|im_start|>",
                                     "<|im_end|>"};
  std::vector<int32_t> types(tokens.size(), 3);
  for (std::string& token : ByteTokens()) tokens.push_back(std::move(token));
  std::vector<std::string> merges;
  for (const char* merge : kMerges) {
    merges.emplace_back(merge);
    std::string joined = merge;
    joined.erase(joined.find(' '), 1);
    tokens.push_back(std::move(joined));
  }
  types.resize(tokens.size(), 1);
  writer->Set(o.architecture + ".vocab_size",
              static_cast<uint32_t>(tokens.size()));
  writer->Set("tokenizer.ggml.model", "gpt2");
  writer->Set("tokenizer.ggml.pre", "smollm");
  writer->SetArray("tokenizer.ggml.tokens", std::move(tokens));
  writer->SetArray("tokenizer.ggml.token_type", std::move(types));
  writer->SetArray("tokenizer.ggml.merges", std::move(merges));
  writer->Set("tokenizer.ggml.bos_token_id", uint32_t{1});
  writer->Set("tokenizer.ggml.eos_token_id", uint32_t{2});
  writer->Set("tokenizer.ggml.unknown_token_id", uint32_t{0});
  writer->Set("tokenizer.ggml.padding_token_id", uint32_t{2});
  writer->Set("tokenizer.ggml.add_bos_token", false);
  writer->Set("tokenizer.ggml.add_space_prefix", false);
  writer->Set("tokenizer.chat_template",
              std::string("{% for message in messages %}{% if loop.first and "
                          "messages[0]['role'] != 'system' %}"
                          "{{ '<|im_start|>system\n") +
                  kTinyDefaultSystem +
                  "<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + "
                  "message['role'] + '\n' + message['content'] + "
                  "'<|im_end|>' + '\n'}}{% endfor %}"
                  "{% if add_generation_prompt %}"
                  "{{ '<|im_start|>assistant\n' }}{% endif %}");
}

void SetConfig(const TinyModelOptions& o, GgufWriter* writer) {
  writer->Set("general.architecture", o.architecture);
  writer->Set("general.type", "model");
  writer->Set("general.name", "tiny");
  writer->Set("general.quantization_version", uint32_t{2});
  const std::string prefix = o.architecture + ".";
  auto count = [&](const char* key, int64_t value) {
    writer->Set(prefix + key, static_cast<uint32_t>(value));
  };
  count("block_count", o.layers);
  count("context_length", o.context);
  count("embedding_length", o.hidden);
  count("feed_forward_length", o.ffn);
  count("attention.head_count", o.heads);
  count("attention.head_count_kv", o.kv_heads);
  count("rope.dimension_count", o.hidden / o.heads);
  writer->Set(prefix + "attention.layer_norm_rms_epsilon", 1e-5f);
  writer->Set(prefix + "rope.freq_base", static_cast<float>(o.rope_theta));
}

class WeightMaker {
 public:
  WeightMaker(const TinyModelOptions& options, GgufWriter* writer)
      : random_(options.seed), writer_(writer) {}

  void AddMatrix(const std::string& name, std::vector<int64_t> shape,
                 BlockType type, double deviation) {
    Random random = random_.Split(name);
    std::vector<float> values(static_cast<size_t>(shape[0] * shape[1]));
    for (float& x : values) x = static_cast<float>(random.Normal() * deviation);
    const BlockShape block = BlockShapeOf(type);
    std::string bytes(values.size() / block.elements * block.bytes, 0);
    Quantise(type, values,
             {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
    writer_->AddTensor(name, std::move(shape), type, std::move(bytes));
  }
  void AddVector(const std::string& name, int64_t size, double mean) {
    Random random = random_.Split(name);
    std::vector<float> values(static_cast<size_t>(size));
    for (float& x : values) {
      x = static_cast<float>(mean + 0.1 * random.Normal());
    }
    writer_->AddTensor(name, {size}, values);
  }

 private:
  const Random random_;
  GgufWriter* const writer_;
};

void AddLayer(const TinyModelOptions& o, int64_t layer, WeightMaker* maker) {
  const std::string prefix = "blk." + std::to_string(layer) + ".";
  const int64_t kv = o.hidden / o.heads * o.kv_heads;
  auto linear = [&](const char* name, int64_t out, int64_t in) {
    maker->AddMatrix(prefix + name + ".weight", {out, in}, o.linear_type,
                     1 / std::sqrt(static_cast<double>(in)));
  };
  maker->AddVector(prefix + "attn_norm.weight", o.hidden, 1);
  auto biased = [&](const char* name, int64_t out) {
    linear(name, out, o.hidden);
    if (o.architecture != "qwen2") return;
    maker->AddVector(prefix + name + ".bias", out, 0);
  };
  biased("attn_q", o.hidden);
  biased("attn_k", kv);
  biased("attn_v", kv);
  linear("attn_output", o.hidden, o.hidden);
  maker->AddVector(prefix + "ffn_norm.weight", o.hidden, 1);
  linear("ffn_gate", o.ffn, o.hidden);
  linear("ffn_up", o.ffn, o.hidden);
  linear("ffn_down", o.hidden, o.ffn);
}

}  // namespace

GgufWriter MakeTinyModel(const TinyModelOptions& options) {
  GgufWriter writer;
  SetConfig(options, &writer);
  SetTokenizer(options, &writer);
  if (!options.rope_divisors.empty()) {
    writer.AddTensor("rope_freqs.weight",
                     {static_cast<int64_t>(options.rope_divisors.size())},
                     options.rope_divisors);
  }
  const int64_t vocab = 3 + 256 + static_cast<int64_t>(std::size(kMerges));
  WeightMaker maker(options, &writer);
  // Small, so that the tied head's logits stay near one.
  maker.AddMatrix("token_embd.weight", {vocab, options.hidden},
                  options.embedding_type, 0.1);
  for (int64_t layer = 0; layer < options.layers; ++layer) {
    AddLayer(options, layer, &maker);
  }
  maker.AddVector("output_norm.weight", options.hidden, 1);
  if (!options.tied) {
    maker.AddMatrix("output.weight", {vocab, options.hidden},
                    options.embedding_type, 0.1);
  }
  return writer;
}

absl::Status WriteTinyModel(const std::string& path,
                            const TinyModelOptions& options) {
  return MakeTinyModel(options).Write(path);
}

absl::Status WriteTinyHfModel(const std::string& directory,
                              const TinyModelOptions& options) {
  const std::string gguf = directory + ".gguf";
  EDGETUNE_RETURN_IF_ERROR(WriteTinyModel(gguf, options));
  auto model = ModelFile::Open(gguf);
  std::remove(gguf.c_str());
  if (!model.ok()) return model.status();
  EDGETUNE_ASSIGN_OR_RETURN(
      auto encoder,
      MakePlainEncoder(**model, std::nullopt, ModelFormat::kHuggingFace));
  return WriteHfModel(directory, DescriptionOf(**model), **model, *encoder);
}

}  // namespace edgetune::testing
