#include "tools/simulation/ranked_run.h"

#include <fmt/format.h>

#include <set>
#include <string>
#include <utility>

#include "base/status.h"
#include "client/train_plan.h"
#include "simulations/mpi/alike.h"
#include "simulations/mpi/post_loader.h"
#include "simulations/mpi/rank_engine.h"
#include "simulations/mpi/rank_server.h"
#include "simulations/mpi/ranks.h"
#include "simulations/runner/null_engine.h"
#include "tools/child_process.h"

namespace edgetune {
namespace {

absl::StatusOr<Engine*> OpenEngine(const PreparedRun& run, Hello& hello) {
  if (run.run.simulation.trainer == "null") {
    static NullEngine null_engine;
    hello.engine = "null";
    return &null_engine;
  }
  EDGETUNE_ASSIGN_OR_RETURN(const std::string name,
                            EngineOf(run.built.plan, "auto"));
  EDGETUNE_ASSIGN_OR_RETURN(Engine* const engine, LoadEngine(name));
  hello.engine = MeansFused(name) ? "fused" : "reference";
  hello.bf16 = engine->UsesBf16(EngineOptionsOf(run.built.plan, 1).precision);
  return engine;
}

// What this rank says of itself; `engine`: what it has for work.
Hello Introduce(const absl::StatusOr<PreparedRun>& run, const Post& post,
                size_t workers, Engine** engine) {
  Hello hello;
  hello.host = post.host();
  hello.processor = ProcessorName();
  hello.workers = static_cast<uint32_t>(
      workers > 0 ? workers : WorkersBeside(post.neighbours()));
  auto program = ProgramDigest();
  hello.ready = program.status();
  if (!program.ok()) return hello;
  hello.program = *std::move(program);
  hello.ready = run.status();
  if (!run.ok()) return hello;
  hello.base = run->built.plan.model().digest();
  hello.plan = run->built.run_id;
  const auto opened = OpenEngine(*run, hello);
  hello.ready = opened.status();
  if (opened.ok()) *engine = *opened;
  return hello;
}

absl::Status Serve(const absl::StatusOr<PreparedRun>& run, Post* post,
                   size_t workers) {
  RankServerOptions options;
  options.post = post;
  options.interrupted = &InterruptFlag();
  options.hello = Introduce(run, *post, workers, &options.engine);
  if (run.ok()) {
    KeepFreedMemory();
    options.model = run->model;
    options.adapter = run->built.initial;
  }
  return ServeRank(std::move(options));
}

void TellWhoComputes(const Hello& own, const std::vector<Hello>& others,
                     const Output& output) {
  std::set<std::string> hosts = {own.host};
  size_t workers = own.workers;
  for (size_t i = 0; i < others.size(); ++i) {
    hosts.insert(others[i].host);
    workers += others[i].workers;
    if (others[i].processor == own.processor) continue;
    output.Note(fmt::format(
        "rank {} on {} has another processor ({}) than rank 0 ({}): two runs "
        "may differ in the last bits",
        i + 1, others[i].host, others[i].processor, own.processor));
  }
  output.Note(fmt::format("{} ranks on {}, {} devices compute at once",
                          others.size() + 1, fmt::join(hosts, ", "), workers));
}

absl::Status Lead(const RankedRunOptions& options,
                  const absl::StatusOr<PreparedRun>& run, const Post& post,
                  Ranks& ranks, const Output& output) {
  EDGETUNE_RETURN_IF_ERROR(run.status());
  Engine* engine = nullptr;
  const Hello own = Introduce(run, post, options.workers, &engine);
  EDGETUNE_RETURN_IF_ERROR(own.ready);
  EDGETUNE_RETURN_IF_ERROR(ranks.Gather(own));
  TellWhoComputes(own, ranks.others(), output);
  RankEngine everywhere(engine, &ranks, own.workers);
  SimulatedRunOptions how;
  how.workers = everywhere.workers();
  how.engine = &everywhere;
  how.stop = &ranks.stop();
  return options.run(*run, std::move(how));
}

}  // namespace

absl::Status RunRanked(const RankedRunOptions& options, const Output& output) {
  EDGETUNE_ASSIGN_OR_RETURN(Post* const post, JoinPost());
  const auto run = options.prepare(post->rank());
  absl::Status outcome, left;
  if (post->rank() > 0) {
    left = Serve(run, post, options.workers);
  } else {
    Ranks ranks({.post = post, .interrupted = &InterruptFlag()});
    outcome = Lead(options, run, *post, ranks, output);
    left = ranks.End();
  }
  if (left.ok()) return outcome;
  // The job cannot be left with who is lost: it ends here, for all, unless
  // whatever started it is ending it.
  if (absl::IsCancelled(outcome)) output.Note(HintOf(outcome));
  if (Interrupted()) return left;
  output.Error(left);
  post->Abort(ExitCodeOf(left));
  return left;
}

}  // namespace edgetune
