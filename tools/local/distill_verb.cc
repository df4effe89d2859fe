#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <string>

#include "tools/local/distillation_run.h"
#include "tools/model/model_writing.h"
#include "tools/verbs.h"

namespace edgetune {
namespace {

void AddLossOptions(CLI::App& verb, DistillOptions& options) {
  verb.add_option("--temperature", options.loss.temperature,
                  "At which teacher and student are compared")
      ->capture_default_str();
  verb.add_option("--alpha", options.loss.alpha,
                  "Share of the teacher in the loss; the rest is the labels'")
      ->capture_default_str();
  verb.add_option("--entropy", options.loss.entropy,
                  "Weight of the student's own entropy")
      ->capture_default_str();
  verb.add_option("--hidden", options.loss.hidden,
                  "Weight of the difference of the last hidden states")
      ->capture_default_str();
  verb.add_flag("--keep-zeros", options.loss.keep_zeros,
                "Weights of the student that are zero stay zero: a sparse "
                "model (edgetune prune) recovers and stays sparse");
  verb.add_option("--top-k", options.top_k,
                  "Learn from the teacher's likeliest tokens alone, kept in "
                  "--cache; 0: from all, asked at every step")
      ->check(CLI::NonNegativeNumber);
  verb.add_option("--cache", options.cache,
                  "File of them: used if it is there, else made");
}

void AddStepOptions(CLI::App& verb, DistillOptions& options) {
  TrainConfig& train = options.train;
  verb.add_option("--steps", train.steps, "Of the optimiser")
      ->capture_default_str();
  verb.add_option("--batch", train.batch, "Examples a step")
      ->capture_default_str();
  verb.add_option("--micro-batch", train.micro_batch, "Examples a forward pass")
      ->capture_default_str();
  verb.add_option("--lr", train.lr, "Highest learning rate")
      ->capture_default_str();
  verb.add_option("--warmup", train.warmup,
                  "Steps until then; after them it falls as a cosine")
      ->capture_default_str();
  verb.add_option("--optimizer", train.optimizer, "adamw or sgd")
      ->transform(CLI::CheckedTransformer(std::map<std::string, OptimizerKind>{
          {"adamw", OptimizerKind::kAdamW}, {"sgd", OptimizerKind::kSgd}}))
      ->default_str("adamw");
  verb.add_option("--momentum", train.momentum, "Of SGD")
      ->check(CLI::Range(0.0, 0.999));
  verb.add_option("--weight-decay", train.weight_decay, "Of the optimiser")
      ->capture_default_str();
  verb.add_option("--grad-clip", train.grad_clip, "Longest gradient; 0: any")
      ->capture_default_str();
  verb.add_option("--seed", train.seed, "Of first weights, order and split")
      ->capture_default_str();
  verb.add_option("--evaluate-every", options.evaluate_every,
                  "Steps from one held-out perplexity to the next; 0: at the "
                  "ends")
      ->check(CLI::NonNegativeNumber);
  verb.add_option("--checkpoint", options.checkpoint,
                  "File to go on from after a stop; saved once a minute");
}

}  // namespace

void AddDistillVerb(CLI::App& app, Invocation& invocation) {
  const Output& output = invocation.output;
  auto options = std::make_shared<DistillOptions>();
  options->train.steps = 1000;
  options->train.warmup = 50;
  options->train.schedule = Schedule::kCosine;
  CLI::App* verb =
      AddVerb(app, invocation, "distill",
              "Make a small model learn from a larger one of the same tokens, "
              "or of the same images",
              [options, &output] { return Distill(*options, output); });
  verb->add_option("--teacher", options->teacher, "Model: name or path")
      ->required();
  verb->add_option("--student", options->student,
                   "Model to begin with, or of texts a config.json: random "
                   "weights")
      ->required();
  verb->add_option("--tokens", options->tokens,
                   "Model whose tokens such a config.json has, some of the "
                   "teacher's (default: the teacher)");
  verb->add_option("--data", options->data,
                   "Training examples: JSONL, or a directory of images")
      ->required();
  verb->add_option(
      "--heldout", options->heldout,
      "Held-out examples (default: test images beside the others, or "
      "a twentieth of them)");
  verb->add_option("--out", options->out, "Model to write")->required();
  verb->add_option("--to", options->to, "hf (directory) or gguf (file)")
      ->check(CLI::IsMember({"hf", "gguf"}))
      ->capture_default_str();
  verb->add_option("--type", options->type,
                   fmt::format("{} (default: f32)", PlainTypeNames()))
      ->check(CLI::IsMember({"f32", "f16", "bf16"}));
  AddLossOptions(*verb, *options);
  AddStepOptions(*verb, *options);
  verb->add_option("--max-length", options->text.max_length,
                   "Longest example in tokens (at most the contexts)")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  verb->add_option("--precision", options->precision,
                   "Of the teacher's products: auto, fp32, bf16")
      ->check(CLI::IsMember({"auto", "fp32", "bf16"}));
  verb->add_option("--threads", options->threads,
                   "0: OMP_NUM_THREADS, or all cores")
      ->check(CLI::NonNegativeNumber);
}

}  // namespace edgetune
