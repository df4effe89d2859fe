// Makes the seeds of every target from what honest parties say:
//   make_corpus DIRECTORY           writes DIRECTORY/<target>/seed-<name>
//   make_corpus --check DIRECTORY   fails if one of them says something else

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "models/io/gguf/gguf.h"
#include "models/io/hf/safetensors.h"
#include "models/io/tokenizer/hf_tokenizer.h"
#include "privacy/identity/roster.h"
#include "tests/fuzz/documents.h"
#include "tests/fuzz/scene.h"
#include "tests/fuzz/tokenizers.h"
#include "tests/privacy_secagg/receipt_maker.h"
#include "tests/testing/tiny_model.h"
#include "tests/training/memory_checkpoints.h"
#include "training/adam_w.h"
#include "training/checkpoint.h"

namespace edgetune::fuzz {
namespace {

// By "<target>/seed-<name>".
using Seeds = std::map<std::string, std::string>;
using DownBody = v1::SecAggServerMessage::BodyCase;
using UpBody = v1::SecAggClientMessage::BodyCase;

std::string After(uint8_t choice, const google::protobuf::Message& message) {
  return static_cast<char>(choice) + message.SerializeAsString();
}

std::string Bytes(std::initializer_list<int> bytes) {
  return {bytes.begin(), bytes.end()};
}

void AddDocuments(Seeds& seeds) {
  v1::Assignment assignment = MaskedAssignment();
  seeds["manifest/seed-masked"] = assignment.SerializeAsString();
  const v1::Envelope* documents[] = {&assignment.plan(), &assignment.manifest(),
                                     &assignment.cards(1), &assignment.roster(),
                                     &assignment.overrides(0)};
  uint8_t use = 0;
  for (const v1::Envelope* document : documents) {
    seeds["envelope/seed-" + document->role() + "-" + std::to_string(use)] =
        After(use, *document);
    ++use;
  }
  // Rounds 0 and the closing evaluation.
  assignment.mutable_cards()->RemoveLast();
  LinkAssignment(assignment);
  seeds["manifest/seed-first"] = assignment.SerializeAsString();
  for (int i = 0; i < 3; ++i) {
    *assignment.add_cards() = MaskedAssignment().cards(1);
  }
  LinkAssignment(assignment);
  seeds["manifest/seed-last"] = assignment.SerializeAsString();
  const v1::Envelope receipt = secagg::ReceiptMaker().Make();
  seeds["receipt/seed-two-groups"] = receipt.SerializeAsString();
  seeds["envelope/seed-receipt"] = After(5, receipt);
}

void AddRosters(Seeds& seeds) {
  for (const uint32_t devices : {0u, 1u, 7u}) {
    const v1::RosterFile file = MakeRosterFile(devices);
    seeds["roster_file/seed-" + std::to_string(devices)] =
        file.SerializeAsString();
    seeds["roster_proof/seed-head-" + std::to_string(devices)] =
        Bytes({0}) + file.head().payload();
  }
  // Trees, places in them, the honest path whole.
  for (const int size : {0, 6, 12, 39}) {
    for (const int at : {0, size / 2, size}) {
      seeds["roster_proof/seed-" + std::to_string(size) + "-" +
            std::to_string(at)] = Bytes({1, size, at, 1, 1, 1, 0});
    }
  }
}

void AddMessages(Seeds& seeds) {
  const Scene& scene = Scene::Five();
  const auto down = [&](DownBody body) {
    return scene.Down(Scene::kVictim, body);
  };
  const auto up = [&](UpBody body) { return scene.Up(Scene::kVictim, body); };
  seeds["cohort/seed-five"] =
      down(DownBody::kCohort).cohort().SerializeAsString();
  seeds["shares/seed-forwarded"] = After(0, down(DownBody::kShares));
  seeds["shares/seed-open"] = After(1, down(DownBody::kOpen));
  seeds["shares/seed-dealt"] = After(2, up(UpBody::kShares));
  seeds["shares/seed-ack"] = After(3, up(UpBody::kAck));
  v1::SecAggClientMessage complaint = up(UpBody::kAck);
  complaint.mutable_ack()->add_bad(0);
  seeds["shares/seed-complaint"] = After(3, complaint);
  seeds["masked_stream/seed-input"] = After(1, up(UpBody::kInput));
  seeds["unmask/seed-freeze"] = After(0, down(DownBody::kFreeze));
  seeds["unmask/seed-request"] = After(1, down(DownBody::kUnmask));
  const Scene& ten = Scene::Ten();
  seeds["unmask/seed-survivors"] =
      After(2, ten.Up(Scene::kVictim, UpBody::kSurvivors));
  v1::SecAggClientMessage shown = ten.Up(Scene::kVictim, UpBody::kUnmask);
  seeds["unmask/seed-shown"] = After(3, shown);
  shown.mutable_unmask()->mutable_b_shares(0)->mutable_share()->back() ^= 1;
  seeds["unmask/seed-lie"] = After(3, shown);
  v1::SecAggClientMessage abort;
  abort.set_abort(v1::DEADLINE);
  seeds["shares/seed-abort"] = After(2, abort);
}

void AddVectors(Seeds& seeds) {
  for (int ring = 0; ring < 4; ++ring) {
    for (const int lanes : {0, 1}) {
      const std::string name =
          std::to_string(ring) + "-" + std::to_string(lanes);
      MaskedShape shape =
          lanes == 0 ? secagg::ShapeOf(secagg::kRings[ring], 4, 5)
                     : secagg::ShapeWithLanes(secagg::kRings[ring], 4, 5);
      secagg::RingVector vector(shape.size(), 3);
      vector[0] = 1;
      vector[1] = 7;
      const std::string packed = Bytes({0}) + secagg::PackLanes(shape, vector);
      seeds["masked_stream/seed-sum-" + name] = Bytes({0, ring, 0, 5, lanes}) +
                                                packed + packed + Bytes({200}) +
                                                packed;
      seeds["masked_stream/seed-quantize-" + name] =
          Bytes({2, ring, 0, 5, lanes}) + (lanes == 0 ? "" : Bytes({64, 100})) +
          Bytes({5}) +
          std::string(
              "\0\0\x80\x3f\0\0\0\xbe\xcd\xcc\xcc\x3d\0\0\0\0"
              "\xff\xff\x7f\x7f",
              20);
    }
  }
  // Decoding: t = 5 of 8 shares, no lie, one, four.
  for (const int lies : {0, 1, 4}) {
    seeds["unmask/seed-decode-" + std::to_string(lies)] =
        Bytes({4, 4, 3, lies, 1}) + std::string(33 + 33 * lies, 's');
  }
}

void AddScripts(Seeds& seeds) {
  for (int check = 0; check < 8; ++check) {
    std::string fields = Bytes({check, 20, 0, 7, 0, 0});
    for (int i = 0; i < 120; ++i) fields.push_back(static_cast<char>(i));
    seeds["codec/seed-" + std::to_string(check)] = fields;
  }
  // The process died after each of these records; nothing was changed.
  const auto records = static_cast<int>(Scene::Five().records().size());
  for (int count = 0; count <= records; ++count) {
    seeds["state/seed-" + std::to_string(count)] = Bytes({count, 0, 0});
  }
  // n, ring, coordinates, seed, delay, duplicates, tell_lost, death, how.
  for (int n = 0; n < 3; ++n) {
    const std::string name = std::to_string(4 + n);
    seeds["session/seed-" + name] = Bytes({n, n, 3, n});
    seeds["session/seed-disorder-" + name] =
        Bytes({n, n, 3, n, 5, 90, 0, 7, 1});
    seeds["session/seed-loss-" + name] =
        Bytes({n, n, 3, n, 0, 0, 0, 0, 0, 0, 12, 0, 0});
    seeds["session/seed-lies-" + name] =
        Bytes({n, n, 3, n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}) +
        Bytes({1, 1, 5, 0, 6, 1, 2, 3, 4, 5, 6, 7, 0, 2, 1, 0, 3, 9, 9, 9, 9});
  }
}

void AddTokenizers(Seeds& seeds) {
  constexpr std::string_view kTexts[] = {
      "The cat's 12 caf\xC3\xA9s\n\n  we'LL <tool>",
      "e\xCC\x81\xE1\x84\x80\xE1\x85\xA1",
      "<|im_start|>user\r\n\xC2\x85x\xE2\x80\xA8", "a\x04\xFF\xF0\x9F\x99\x82"};
  for (size_t kind = 0; kind < kPreTokenizers.size(); ++kind) {
    const std::string pre = kPreTokenizers[kind];
    const auto files =
        HfTokenizerFiles(TinyTokenizer(pre.c_str()), "{{ chat }}").value();
    seeds["tokenizer_json/seed-" + pre] =
        files.at("tokenizer.json") + '\0' + files.at("tokenizer_config.json") +
        '\0' + R"({"eos_token_id": [0, 1]})" + '\0' + R"({"pad_token_id": 0})";
    seeds["tokenizer_text/seed-" + pre] =
        static_cast<char>(kind + 4 * (kind % 2)) + std::string(kTexts[kind]);
  }
}

// The smallest model and adapter, and what a directory says about a model.
void AddModels(Seeds& seeds) {
  const edgetune::testing::TinyModelOptions tiny = {
      .hidden = 8,
      .ffn = 8,
      .layers = 1,
      .heads = 1,
      .kv_heads = 1,
      .linear_type = BlockType::kF16,
      .embedding_type = BlockType::kF16};
  seeds["gguf/seed-model"] =
      edgetune::testing::MakeTinyModel(tiny).Serialise().value();
  GgufWriter adapter;
  adapter.Set("general.architecture", "llama");
  adapter.Set("general.type", "adapter");
  adapter.Set("adapter.type", "lora");
  adapter.Set("adapter.lora.alpha", 4.0f);
  const std::vector<float> factor(16, 0.5f);
  adapter.AddTensor("blk.0.attn_q.weight.lora_a", {2, 8}, factor);
  adapter.AddTensor("blk.0.attn_q.weight.lora_b", {8, 2}, factor);
  seeds["gguf/seed-adapter"] = adapter.Serialise().value();
  const std::span<const uint8_t> data(
      reinterpret_cast<const uint8_t*>(factor.data()), 32);
  const SafeTensor tensors[] = {{"a.weight", "F32", {2, 4}, data},
                                {"b", "BF16", {16}, data},
                                {"empty", "F16", {0, 3}, {}}};
  seeds["safetensors/seed"] = SerialiseSafetensors(tensors).value();
  const std::string sizes =
      R"("hidden_size":8,"intermediate_size":8,"num_hidden_layers":1,)"
      R"("num_attention_heads":2,"num_key_value_heads":1,"vocab_size":300,)"
      R"("max_position_embeddings":256,"rms_norm_eps":1e-05,"hidden_act":"silu",)";
  seeds["model_config/seed-llama"] =
      Bytes({0}) + R"({"architectures":["LlamaForCausalLM"],)" + sizes +
      R"("rope_theta":5e5,"rope_scaling":{"rope_type":"llama3","factor":8.0,)"
      R"("low_freq_factor":1.0,"high_freq_factor":4.0,)"
      R"("original_max_position_embeddings":64},"eos_token_id":[1,2]})";
  seeds["model_config/seed-qwen2"] =
      Bytes({0}) + R"({"architectures":["Qwen2ForCausalLM"],)" + sizes +
      R"("rope_parameters":{"rope_theta":1e6,"rope_type":"default"},)"
      R"("tie_word_embeddings":true,"bos_token_id":0})";
  seeds["model_config/seed-peft"] =
      Bytes({1}) +
      R"({"peft_type":"LORA","r":8,"lora_alpha":16,"use_rslora":true,)"
      R"("target_modules":["q_proj"],"rank_pattern":{"^model.layers.0.q":2},)"
      R"("alpha_pattern":{"q_proj":32}})";
}

// Lines of every schema, and files of them.
// Without its last digest, and whole.
void AddCheckpoints(Seeds& seeds) {
  AdamW optimizer(3, 0);
  std::vector<float> values = {1, -2, 0.5f};
  optimizer.Step(values, std::vector<float>{0.3f, -0.2f, 0.1f}, 0.1);
  testing::MemoryCheckpoints store;
  SaveCheckpoint(Sha256(std::string_view("a segment")),
                 {.steps = 1,
                  .tokens = 16,
                  .first_loss = 2,
                  .last_loss = 2,
                  .seconds = 0.5},
                 values, optimizer, store);
  const std::string& bytes = store.saved[0];
  seeds["checkpoint/seed-whole"] = bytes;
  seeds["checkpoint/seed-content"] = bytes.substr(0, bytes.size() - 32);
}

void AddLines(Seeds& seeds) {
  const std::string lines[] = {
      R"({"messages":[{"role":"user","content":"a"},)"
      R"({"role":"assistant","content":"\u00e9"}]})",
      R"({"conversations":[{"from":"system","value":"s"},)"
      R"({"from":"human","value":"a"},{"from":"gpt","value":"b"}]})",
      R"({"prompt":"a","completion":" b"})",
      R"({"prompt":[{"role":"user","content":"a"}],)"
      R"("completion":[{"role":"assistant","content":"b"}]})",
      R"({"instruction":"a","input":"b","output":"c"})",
      R"({"text":"a"})",
      R"({"question":"a","choices":["b","c"],"answer":"B"})",
      R"({"prompt":"a","choices":["b","c"],"answer":1})"};
  std::string all;
  for (const std::string& line : lines) {
    seeds["jsonl/seed-line-" + std::to_string(all.size())] = Bytes({0}) + line;
    all += line + "\n";
  }
  seeds["jsonl/seed-file"] = Bytes({1, 0, 7}) + "\xef\xbb\xbf" + all + "\r\n";
  // {"text":"a"} and LF, by gzip 1.12 and zstd 1.5.4.
  const std::string gzip(
      "\x1f\x8b\x08\0\0\0\0\0\x02\x03\xab\x56\x2a\x49\xad\x28\x51\xb2\x52"
      "\x4a\x54\xaa\xe5\x02\0\x77\x4c\xc2\x38\x0d\0\0\0",
      33);
  const std::string zstd(
      "\x28\xb5\x2f\xfd\x04\x58\x69\0\0\x7b\x22\x74\x65\x78\x74\x22\x3a\x22"
      "\x61\x22\x7d\x0a\xae\xa9\x71\x8c",
      26);
  seeds["jsonl/seed-gzip"] = Bytes({1, 1, 3}) + gzip;
  seeds["jsonl/seed-zstd"] = Bytes({1, 2, 3}) + zstd;
  for (const int kind : {0, 1}) {
    seeds["jsonl/seed-packed-" + std::to_string(kind)] =
        Bytes({2, kind, 50, 30, 0, 1, 100}) + all;
  }
}

std::string Contents(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

int Run(const std::filesystem::path& directory, bool check) {
  Seeds seeds;
  AddDocuments(seeds);
  AddRosters(seeds);
  AddMessages(seeds);
  AddVectors(seeds);
  AddScripts(seeds);
  AddTokenizers(seeds);
  AddCheckpoints(seeds);
  AddLines(seeds);
  AddModels(seeds);
  int stale = 0;
  for (const auto& [name, bytes] : seeds) {
    const std::filesystem::path path = directory / name;
    if (check) {
      if (Contents(path) == bytes) continue;
      std::printf("%s is not what honest parties say now\n", name.c_str());
      ++stale;
      continue;
    }
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << bytes;
  }
  return stale == 0 ? 0 : 1;
}

}  // namespace
}  // namespace edgetune::fuzz

int main(int argc, char** argv) {
  const bool check = argc == 3 && std::string_view(argv[1]) == "--check";
  if (argc != 2 && !check) return 2;
  return edgetune::fuzz::Run(argv[argc - 1], check);
}
