#include "config/run_file.h"

#include <unistd.h>

#include <cstdlib>
#include <map>

#include "base/atomic_file.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace edgetune {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class RunFileTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& text) {
    EXPECT_TRUE(WriteFileAtomically(path_, text).ok());
    return path_;
  }
  absl::StatusOr<RunFile> Read(const std::string& text) {
    return ReadRunFile(Write("schema = 1\n" + text), {}, {});
  }
  // The error of `text` below the line "schema = 1", without its directory.
  std::string ErrorOf(const std::string& text) {
    const auto run = Read(text);
    EXPECT_EQ(run.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(KindOf(run.status()), ErrorKind::kConfig);
    const std::string message(run.status().message());
    return message.substr(message.find("run.toml"));
  }
  void TearDown() override { unlink(path_.c_str()); }

  // Cases run at the same time, each in a process of its own.
  const std::string path_ =
      ::testing::TempDir() + std::to_string(getpid()) + "_run.toml";
};

std::string MessageOf(const absl::StatusOr<RunFile>& run) {
  return std::string(run.status().message());
}

TEST_F(RunFileTest, GivesDefaultsToAFileWithTheSchemaAlone) {
  const auto run = Read("");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->model.base, "smollm2-135m");
  EXPECT_EQ(run->train.lr, 1e-3);
  EXPECT_EQ(run->rounds.deadline, absl::Minutes(10));
  EXPECT_EQ(run->rounds.quorum, 0);  // resolved when the plan is built
  EXPECT_TRUE(run->secagg.enabled);
  EXPECT_EQ(run->secagg.n_min, 0);
  EXPECT_EQ(run->secagg.bits, 32);
  EXPECT_EQ(run->secagg.bound, 0.25);
  EXPECT_EQ(run->secagg.group, 300);
  EXPECT_EQ(run->secagg.max_contributions, 1);
}

TEST_F(RunFileTest, PartsAreOfTheRuleThatHasSome) {
  const auto run =
      Read("[lora]\nrule = 'full'\nparts = ['fc2', 'features.18', 'fc1']\n");
  ASSERT_TRUE(run.ok()) << run.status();
  // In one order, whatever the file's.
  EXPECT_EQ(run->lora.parts,
            (std::vector<std::string>{"fc1", "fc2", "features.18"}));
  EXPECT_TRUE(Read("[lora]\nrule = 'full'\nparts = []\n")->lora.parts.empty());
  EXPECT_THAT(ErrorOf("[lora]\nparts = ['fc1']\n"),
              HasSubstr("lora.rule = fedit"));
  EXPECT_THAT(ErrorOf("[lora]\nrule = 'full'\nparts = ['a', 'b', 'a']\n"),
              HasSubstr("holds \"a\" more than once"));
  EXPECT_THAT(ErrorOf("[lora]\nrule = 'full'\nparts = 'fc1'\n"),
              HasSubstr("a list of texts"));
}

TEST_F(RunFileTest, ReadsEveryKindOfValue) {
  const auto run = Read(
      "[model]\nbase = 'm.gguf'\n"
      "[lora]\nalpha = 8\ntargets = ['down_proj', 'q_proj']\n"
      "[train]\nlr = 2.5e-4\nsteps = 12\n"
      "[rounds]\ncohort = 3\ndeadline = '1h30m'\n"
      "reconnect_grace = '500ms'\n[secagg]\nenabled = false\n");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->model.base, "m.gguf");
  EXPECT_EQ(run->lora.alpha, 8.0);
  // In the adapter's order, whatever the file's.
  EXPECT_EQ(run->lora.targets,
            (std::vector<std::string>{"q_proj", "down_proj"}));
  EXPECT_EQ(run->train.lr, 2.5e-4);
  EXPECT_EQ(run->train.steps, 12);
  EXPECT_EQ(run->rounds.deadline, absl::Minutes(90));
  EXPECT_EQ(run->rounds.reconnect_grace, absl::Milliseconds(500));
  EXPECT_FALSE(run->secagg.enabled);
}

TEST_F(RunFileTest, ReadsWhatADeviceMinimisesAndHowItIsWeighed) {
  const auto run = Read(
      "[train]\noptimizer = 'sgd'\nmomentum = 0.9\nepochs = 2\nwarmup = 6\n"
      "objective = 'prox'\nprox_mu = 0.1\nteacher_alpha = 0.3\n"
      "[rounds]\nnormalise = 'steps'\nfairness_q = 0.5\n");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->train.optimizer, "sgd");
  EXPECT_EQ(run->train.momentum, 0.9);
  EXPECT_EQ(run->train.epochs, 2);
  EXPECT_EQ(run->train.steps, 0);
  EXPECT_EQ(run->train.objective, "prox");
  EXPECT_EQ(run->train.prox_mu, 0.1);
  EXPECT_EQ(run->train.teacher_alpha, 0.3);
  EXPECT_EQ(run->train.teacher_temperature, 2);
  EXPECT_EQ(run->rounds.normalise, "steps");
  EXPECT_EQ(run->rounds.fairness_q, 0.5);
  const auto defaults = Read("");
  EXPECT_EQ(defaults->train.steps, 6);
  EXPECT_EQ(defaults->train.epochs, 0);
  EXPECT_EQ(defaults->train.optimizer, "adamw");
  EXPECT_EQ(defaults->train.objective, "plain");
  EXPECT_EQ(defaults->rounds.normalise, "none");
}

TEST_F(RunFileTest, ARoundIsStepsOrEpochs) {
  EXPECT_THAT(ErrorOf("[train]\nsteps = 6\nepochs = 2\n"),
              EndsWith("run.toml:4): wanted one of them"));
  // As `config show` prints it.
  EXPECT_TRUE(Read("[train]\nsteps = 0\nepochs = 2\n").ok());
  EXPECT_THAT(ErrorOf("[train]\nsteps = 0\n"), HasSubstr("wants train.epochs"));
  EXPECT_THAT(ErrorOf("[train]\nepochs = 1001\n"), HasSubstr("train.epochs"));
  EXPECT_THAT(ErrorOf("[train]\nepochs = 2\nwarmup = 7\n"),
              HasSubstr("is more than the 6 epochs of all rounds"));
}

TEST_F(RunFileTest, ReadsScaffoldAndItsFleet) {
  const auto run =
      Read("[train]\nobjective = 'scaffold'\n[fleet]\ndevices = 40\n");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->train.objective, "scaffold");
  EXPECT_EQ(run->fleet.devices, 40);
  EXPECT_EQ(Read("")->fleet.devices, 0);
}

TEST_F(RunFileTest, RefusesWhatADeviceCannotMinimise) {
  EXPECT_THAT(ErrorOf("[train]\nobjective = 'ditto'\n"),
              HasSubstr("train.objective"));
  EXPECT_THAT(ErrorOf("[fleet]\ndevices = -1\n"), HasSubstr("fleet.devices"));
  EXPECT_THAT(ErrorOf("[train]\noptimizer = 'lion'\n"), HasSubstr("adamw"));
  EXPECT_THAT(ErrorOf("[train]\nmomentum = 1.0\n"),
              HasSubstr("train.momentum"));
  EXPECT_THAT(ErrorOf("[train]\nprox_mu = -1\n"), HasSubstr("train.prox_mu"));
  EXPECT_THAT(ErrorOf("[train]\nteacher_alpha = 2\n"),
              HasSubstr("train.teacher_alpha"));
  EXPECT_THAT(ErrorOf("[rounds]\nnormalise = 'loss'\n"),
              HasSubstr("rounds.normalise"));
  EXPECT_THAT(ErrorOf("[rounds]\nfairness_q = nan\n"),
              HasSubstr("rounds.fairness_q"));
}

TEST_F(RunFileTest, ReadsTheKeysOfMasking) {
  const auto run = Read(
      "[secagg]\nenabled = true\nn_min = 10\nbits = 24\nbound = 0.5\n"
      "group = 100\nmax_contributions = 1\n");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_TRUE(run->secagg.enabled);
  EXPECT_EQ(run->secagg.n_min, 10);
  EXPECT_EQ(run->secagg.bits, 24);
  EXPECT_EQ(run->secagg.bound, 0.5);
  EXPECT_EQ(run->secagg.group, 100);
  EXPECT_EQ(run->secagg.max_contributions, 1);
}

TEST_F(RunFileTest, ReadsTheKeysOfCombining) {
  const auto defaults = Read("");
  EXPECT_EQ(defaults->rounds.aggregator, "mean");
  EXPECT_EQ(defaults->rounds.trim, 0.25);
  EXPECT_EQ(defaults->rounds.byzantine, 1);
  EXPECT_EQ(defaults->rounds.kept, 0);
  EXPECT_EQ(defaults->rounds.norm_bound, 1.0);
  const auto run = Read(
      "[rounds]\naggregator = 'multi_krum'\ntrim = 0.1\nbyzantine = 2\n"
      "kept = 3\nnorm_bound = 0.5\nserver_optimizer = 'yogi'\n");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->rounds.aggregator, "multi_krum");
  EXPECT_EQ(run->rounds.trim, 0.1);
  EXPECT_EQ(run->rounds.byzantine, 2);
  EXPECT_EQ(run->rounds.kept, 3);
  EXPECT_EQ(run->rounds.norm_bound, 0.5);
  EXPECT_EQ(run->rounds.server_optimizer, "yogi");
}

TEST_F(RunFileTest, RefusesCombiningOutOfRangeByKey) {
  for (const auto& [key, values] :
       std::map<std::string, std::vector<std::string>>{
           {"trim", {"0", "0.5", "-0.1", "nan"}},
           {"byzantine", {"0", "-1", "100001", "0.5"}},
           {"kept", {"-1", "100001"}},
           {"norm_bound", {"0", "-1.0", "inf"}},
           {"aggregator", {"'mode'", "''"}},
           {"server_optimizer", {"'lion'"}}}) {
    for (const std::string& value : values) {
      EXPECT_THAT(ErrorOf("[rounds]\n" + key + " = " + value + "\n"),
                  HasSubstr("rounds." + key))
          << value;
    }
  }
}

TEST_F(RunFileTest, RefusesMaskingOutOfRangeByKey) {
  EXPECT_THAT(ErrorOf("[secagg]\nn_min = 301\n"), HasSubstr("secagg.n_min"));
  EXPECT_THAT(ErrorOf("[secagg]\nn_min = -1\n"), HasSubstr("secagg.n_min"));
  EXPECT_THAT(ErrorOf("[secagg]\nbits = 33\n"), HasSubstr("secagg.bits"));
  EXPECT_THAT(ErrorOf("[secagg]\nbits = 8\n"), HasSubstr("secagg.bits"));
  EXPECT_THAT(ErrorOf("[secagg]\nbound = 0\n"), HasSubstr("secagg.bound"));
  EXPECT_THAT(ErrorOf("[secagg]\nbound = inf\n"), HasSubstr("secagg.bound"));
  EXPECT_THAT(ErrorOf("[secagg]\ngroup = 3\n"), HasSubstr("secagg.group"));
  EXPECT_THAT(ErrorOf("[secagg]\ngroup = 301\n"), HasSubstr("secagg.group"));
  EXPECT_THAT(ErrorOf("[secagg]\nmax_contributions = 2\n"),
              HasSubstr("secagg.max_contributions"));
  EXPECT_THAT(ErrorOf("[secagg]\nmin = 4\n"),
              HasSubstr("unknown key secagg.min"));
}

TEST_F(RunFileTest, SuggestsTheNearestKeyWithLineAndColumn) {
  EXPECT_EQ(ErrorOf("[train]\n  lrr = 1\n"),
            "run.toml:3:3: unknown key train.lrr; did you mean train.lr?");
  EXPECT_EQ(ErrorOf("[rouns]\ncohort = 4\n"),
            "run.toml:3:1: unknown key rouns.cohort; did you mean "
            "rounds.cohort?");
  EXPECT_EQ(ErrorOf("zzzzzzzz = 1\n"), "run.toml:2:1: unknown key zzzzzzzz");
  EXPECT_THAT(ErrorOf("[nothing]\n"), HasSubstr("unknown key nothing"));
}

TEST_F(RunFileTest, CallsPlannedKeysNotInThisVersion) {
  for (const char* text :
       {"[privacy]\nepsilon = 8.0\n", "[privacy]\ndelta = 1e-6\n",
        "[device.policy]\nrequire = ['power']\n",
        "[device.policy]\nbattery = { start = 40, stop = 25 }\n",
        "[tracking]\ntensorboard = true\n", "[privacy]\nmode = 'central'\n"}) {
    EXPECT_THAT(ErrorOf(text), HasSubstr("not in this version")) << text;
    EXPECT_THAT(ErrorOf(text), StartsWith("run.toml:3:")) << text;
  }
}

TEST_F(RunFileTest, FrozenSlicesAreForTheRulesThatHaveThem) {
  const auto run = Read("[lora]\nrule = 'flora'\nfrozen_rank = 5\n");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->lora.frozen_rank, 5);
  EXPECT_EQ(Read("[lora]\nrule = 'fedex'\n")->lora.frozen_rank, 0);
  EXPECT_THAT(ErrorOf("[lora]\nfrozen_rank = 5\n"),
              HasSubstr("is for lora.rule fedex and flora"));
  EXPECT_THAT(ErrorOf("[lora]\nrule = 'fedex'\nfrozen_rank = 1025\n"),
              HasSubstr("lora.frozen_rank"));
}

TEST_F(RunFileTest, TakesAMemoryBudgetInAnyUnit) {
  const std::pair<const char*, uint64_t> cases[] = {{"450MB", 450'000'000},
                                                    {"1.5GB", 1'500'000'000},
                                                    {"512MiB", 536'870'912},
                                                    {"450 MB", 450'000'000},
                                                    {"800000KB", 800'000'000},
                                                    {"1GiB", 1'073'741'824},
                                                    {"0", 0}};
  for (const auto& [text, bytes] : cases) {
    const auto run =
        Read(std::string("[train]\nmemory_budget = '") + text + "'\n");
    ASSERT_TRUE(run.ok()) << run.status();
    EXPECT_EQ(run->train.memory_budget, bytes) << text;
  }
  EXPECT_EQ(Read("")->train.memory_budget, 0u);
}

TEST_F(RunFileTest, RefusesAMemoryBudgetThatIsNone) {
  for (const char* value :
       {"'450'", "450", "'lots'", "'450MBs'", "'-450MB'", "'nanMB'", "'1KB'",
        "'2TB'", "'infGB'", "'1e9MB'", "true", "''", "'450  MB'"}) {
    EXPECT_THAT(
        ErrorOf(std::string("[train]\nmemory_budget = ") + value + "\n"),
        HasSubstr("wanted a size such as \"450MB\""))
        << value;
  }
}

TEST_F(RunFileTest, TakesEveryEngine) {
  for (const char* engine : {"auto", "fused", "reference"}) {
    const auto file = Read(std::string("[train]\nengine = '") + engine + "'\n");
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(file->train.engine, engine);
  }
  EXPECT_THAT(ErrorOf("[train]\nengine = 'gpu'\n"),
              HasSubstr("auto\" or \"fused\" or \"reference"));
}

TEST_F(RunFileTest, SaysWhichTypeIsWanted) {
  EXPECT_EQ(ErrorOf("[train]\nsteps = 'six'\n"),
            "run.toml:3:9: train.steps is text \"six\", wanted a whole number "
            "from 0 to 100000");
  EXPECT_THAT(ErrorOf("[train]\nsteps = 6.5\n"), HasSubstr("whole number"));
  EXPECT_THAT(ErrorOf("[train]\nlr = true\n"), HasSubstr("a number above 0"));
  EXPECT_THAT(ErrorOf("[model]\nbase = 3\n"), HasSubstr("wanted text"));
  EXPECT_THAT(ErrorOf("[rounds]\ndeadline = 10\n"), HasSubstr("a duration"));
  EXPECT_THAT(ErrorOf("[rounds]\ndeadline = 1979-05-27\n"),
              HasSubstr("is a date or time"));
  EXPECT_THAT(ErrorOf("[lora]\ntargets = 'q_proj'\n"), HasSubstr("a list"));
  EXPECT_THAT(ErrorOf("[lora]\ntargets = ['q_proj', 1]\n"),
              HasSubstr("holds other things than text"));
  EXPECT_THAT(ErrorOf("[secagg]\nenabled = 'no'\n"),
              HasSubstr("wanted true or false"));
  EXPECT_THAT(ErrorOf("train = 3\n"), HasSubstr("train is a section"));
}

TEST_F(RunFileTest, RefusesValuesOutOfRange) {
  EXPECT_THAT(ErrorOf("[lora]\nrank = 0\n"), HasSubstr("from 1 to 1024"));
  EXPECT_THAT(ErrorOf("[lora]\nalpha = 0\n"), HasSubstr("above 0"));
  EXPECT_THAT(ErrorOf("[lora]\nalpha = nan\n"), HasSubstr("lora.alpha"));
  EXPECT_THAT(ErrorOf("[lora]\nalpha = inf\n"), HasSubstr("lora.alpha"));
  EXPECT_THAT(ErrorOf("[lora]\ntargets = []\n"), HasSubstr("lora.targets"));
  EXPECT_THAT(ErrorOf("[lora]\ntargets = ['lm_head']\n"), HasSubstr("lm_head"));
  EXPECT_THAT(ErrorOf("[lora]\ntargets = ['q_proj', 'q_proj']\n"),
              HasSubstr("more than once"));
  EXPECT_THAT(ErrorOf("[data]\nholdout = 0.6\n"), HasSubstr("at most 0.5"));
  EXPECT_THAT(ErrorOf("[rounds]\nserver_beta1 = 1\n"),
              HasSubstr("rounds.server_beta1"));
  for (const char* bad :
       {"10", "ten minutes", "-5m", "999ms", "8000h", "inf", "", "10 m"}) {
    EXPECT_THAT(ErrorOf(std::string("[rounds]\ndeadline = '") + bad + "'\n"),
                HasSubstr("rounds.deadline"))
        << bad;
  }
}

TEST_F(RunFileTest, RefusesValuesThatContradictEachOther) {
  auto error = [this](const std::string& text) {
    return MessageOf(Read(text));
  };
  EXPECT_THAT(error("[rounds]\nquorum = 5\n"),
              HasSubstr("run.toml:3) is more than rounds.cohort = 4 "
                        "(default)"));
  EXPECT_THAT(error("[train]\nmicro_batch = 9\n"),
              HasSubstr("is more than train.batch = 8"));
  EXPECT_THAT(error("[train]\nwarmup = 19\n"),
              HasSubstr("more than the 18 steps"));
  EXPECT_THAT(error("[rounds]\nselect_timeout = '1ms'\n"),
              HasSubstr("at least 1s"));
}

TEST_F(RunFileTest, RequiresTheSchemaItKnows) {
  EXPECT_THAT(MessageOf(ReadRunFile(Write("[train]\nlr = 1\n"), {}, {})),
              EndsWith("key schema is missing, wanted schema = 1"));
  EXPECT_THAT(MessageOf(ReadRunFile(Write("schema = 2\n"), {}, {})),
              HasSubstr("schema is number 2"));
}

TEST_F(RunFileTest, RefusesWhatIsNotTomlWithLineAndColumn) {
  EXPECT_THAT(ErrorOf("[train\nlr = 1\n"), StartsWith("run.toml:2:"));
  EXPECT_THAT(ErrorOf("[train]\nlr = 1\nlr = 2\n"), StartsWith("run.toml:4:"));
  EXPECT_FALSE(ReadRunFile(Write(std::string("\xff\x00\x01", 3)), {}, {}).ok());
}

TEST_F(RunFileTest, NamesAFileThatIsNotThere) {
  const auto run = ReadRunFile("/nonexistent/run.toml", {}, {});
  EXPECT_THAT(MessageOf(run), HasSubstr("/nonexistent/run.toml"));
  EXPECT_EQ(ExitCodeOf(run.status()), 4);
}

TEST_F(RunFileTest, PutsFlagsAboveEnvironmentAboveFileAboveDefaults) {
  const std::string path =
      Write("schema = 1\n[train]\nlr = 0.1\nsteps = 2\nbatch = 5\n");
  std::vector<ConfigOrigin> origins;
  const auto run = ReadRunFile(
      path, {"train.lr=0.3"},
      {{"EDGETUNE_TRAIN__LR", "0.2"}, {"EDGETUNE_TRAIN__STEPS", "3"}},
      &origins);
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->train.lr, 0.3);
  EXPECT_EQ(run->train.steps, 3);
  EXPECT_EQ(run->train.batch, 5);
  EXPECT_EQ(run->train.seed, 1);
  std::map<std::string, std::pair<std::string, std::string>> of;
  for (const auto& o : origins) of[o.key] = {o.value, o.origin};
  using Row = std::pair<std::string, std::string>;
  EXPECT_EQ(of["train.lr"], Row("0.3", "--set"));
  EXPECT_EQ(of["train.steps"], Row("3", "EDGETUNE_TRAIN__STEPS"));
  EXPECT_EQ(of["train.batch"], Row("5", path + ":5"));
  EXPECT_EQ(of["train.seed"], Row("1", "default"));
}

TEST_F(RunFileTest, TakesTextAndListsOutsideFilesWithoutQuotes) {
  const auto run =
      ReadRunFile("",
                  {"rounds.deadline=90s", "model.base=1",
                   "lora.targets=v_proj,q_proj", "model.precision=\"fp32\""},
                  {{"EDGETUNE_FLEET__POPULATION", "phones"}});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->rounds.deadline, absl::Seconds(90));
  EXPECT_EQ(run->model.base, "1");
  EXPECT_EQ(run->lora.targets, (std::vector<std::string>{"q_proj", "v_proj"}));
  EXPECT_EQ(run->model.precision, "fp32");
  EXPECT_EQ(run->fleet.population, "phones");
}

TEST_F(RunFileTest, RefusesBadFlagsAndVariablesByName) {
  EXPECT_THAT(MessageOf(ReadRunFile("", {"train.lrr=1"}, {})),
              StartsWith("--set train.lrr=1: unknown key train.lrr; did you"));
  EXPECT_THAT(MessageOf(ReadRunFile("", {"train.lr"}, {})),
              HasSubstr("wanted section.key=value"));
  EXPECT_THAT(MessageOf(ReadRunFile("", {"train.steps=many"}, {})),
              HasSubstr("wanted a whole number"));
  EXPECT_THAT(MessageOf(ReadRunFile("", {"train.steps=1\nx=2"}, {})),
              HasSubstr("wanted a whole number"));
  EXPECT_THAT(MessageOf(ReadRunFile("", {}, {{"EDGETUNE_TRAIN__X", "1"}})),
              StartsWith("environment variable EDGETUNE_TRAIN__X: unknown"));
}

TEST_F(RunFileTest, IgnoresVariablesThatAreNotSettings) {
  EXPECT_TRUE(
      ReadRunFile("", {}, {{"EDGETUNE_ENGINE_DIR", "x"}, {"TRAIN__LR", "y"}})
          .ok());
  setenv("EDGETUNE_SMOLLM2_GGUF", "/m.gguf", 1);
  setenv("EDGETUNE_TRAIN__LR", "0.5=x", 1);
  const auto found = EdgetuneEnvironment();
  unsetenv("EDGETUNE_SMOLLM2_GGUF");
  unsetenv("EDGETUNE_TRAIN__LR");
  EXPECT_THAT(found, ::testing::Contains(
                         ::testing::Pair("EDGETUNE_TRAIN__LR", "0.5=x")));
  EXPECT_THAT(found, ::testing::Not(::testing::Contains(
                         ::testing::Key("EDGETUNE_SMOLLM2_GGUF"))));
}

TEST_F(RunFileTest, FilesOfASimulationAreRelativeToTheFileThatNamesThem) {
  const std::string beside = ::testing::TempDir();
  auto run = Read("[simulation]\ndata = \"d\"\ndevices = \"x/../a.csv\"\n");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->simulation.data, beside + "d");
  EXPECT_EQ(run->simulation.devices, beside + "a.csv");
  run = Read("[simulation]\ndata = \"/d\"\ndevices = \"phones\"\n");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->simulation.data, "/d");
  EXPECT_EQ(run->simulation.devices, "phones");
  // On the command line: to where that is.
  run =
      ReadRunFile(path_, {"simulation.data=d", "simulation.devices=a.csv"}, {});
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->simulation.data, "d");
  EXPECT_EQ(run->simulation.devices, "a.csv");
}

// The reference has one row for each key: | `key` | type | `default` | ...
TEST_F(RunFileTest, MatchesTheReferenceKeyByKey) {
  const auto doc = ReadFile(EDGETUNE_SOURCE_DIR "/docs/reference/run-file.md");
  ASSERT_TRUE(doc.ok()) << doc.status();
  std::vector<ConfigOrigin> origins;
  ASSERT_TRUE(ReadRunFile("", {}, {}, &origins).ok());
  size_t rows = 0;
  for (size_t at = doc->find("\n| `"); at != doc->npos;
       at = doc->find("\n| `", at + 1)) {
    ++rows;
  }
  EXPECT_EQ(rows, origins.size());
  for (const ConfigOrigin& origin : origins) {
    const size_t at = doc->find("| `" + origin.key + "` |");
    ASSERT_NE(at, doc->npos) << origin.key << " is not in the reference";
    const std::string row = doc->substr(at, doc->find('\n', at) - at);
    EXPECT_THAT(row, HasSubstr("| `" + origin.value + "` |"));
  }
}

TEST_F(RunFileTest, KnowsTheAdversariesOfASimulation) {
  const auto none = Read("");
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(none->simulation.adversary, "none");
  EXPECT_EQ(none->simulation.adversary_share, 0.2);
  EXPECT_EQ(none->simulation.adversary_scale, 10);
  const auto run = Read(
      "[simulation]\nadversary = \"backdoor\"\nadversary_share = 0.5\n"
      "adversary_scale = 3\nadversary_trigger = \"cf\"\n"
      "adversary_target = \"buy\"\n");
  ASSERT_TRUE(run.ok()) << run.status();
  EXPECT_EQ(run->simulation.adversary, "backdoor");
  EXPECT_EQ(run->simulation.adversary_share, 0.5);
  EXPECT_EQ(run->simulation.adversary_scale, 3);
  EXPECT_EQ(run->simulation.adversary_trigger, "cf");
  EXPECT_EQ(run->simulation.adversary_target, "buy");
}

TEST_F(RunFileTest, ReadsWhatItShowsOfTheDefaults) {
  std::vector<ConfigOrigin> origins;
  ASSERT_TRUE(ReadRunFile("", {}, {}, &origins).ok());
  for (const ConfigOrigin& origin : origins) {
    const auto again = ReadRunFile("", {origin.key + "=" + origin.value}, {});
    EXPECT_TRUE(again.ok()) << again.status();
  }
}

TEST_F(RunFileTest, RefusesAdversariesThatAreNone) {
  EXPECT_THAT(ErrorOf("[simulation]\nadversary = \"sign\"\n"),
              HasSubstr("sign_flip"));
  for (const char* bad :
       {"adversary_share = 0.6", "adversary_share = -0.1",
        "adversary_share = nan", "adversary_scale = 0", "adversary_scale = inf",
        "adversary_scale = -1", "adversary = 1", "adversary_trigger = 2"}) {
    EXPECT_THAT(ErrorOf(std::string("[simulation]\n") + bad + "\n"),
                StartsWith("run.toml:3"))
        << bad;
  }
}

}  // namespace
}  // namespace edgetune
