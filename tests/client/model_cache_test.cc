#include "client/model_cache.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "privacy/crypto/hash.h"
#include "protos/plan_check.h"
#include "tests/client/fixture.h"
#include "tests/testing/scratch_directory.h"
#include "tests/testing/tiny_model.h"

namespace edgetune {
namespace {

// The base of `plan` becomes that directory, whose files go into the store.
void StoreDirectory(const std::string& directory, BlobStore& store,
                    v1::TaskPlan& plan) {
  v1::ModelSpec& spec = *plan.mutable_model();
  spec.clear_parts();
  const auto names = *ModelFile::FilesOf(directory);
  for (const std::string& name : names) {
    const std::string path = directory + "/" + name;
    v1::FilePart* part = spec.add_parts();
    part->set_name(name);
    part->set_size(std::filesystem::file_size(path));
    part->set_sha256(DigestBytes(*store.PutFile(path)));
  }
  spec.set_digest(Sha256Bytes(
      CanonicalBaseEncoding({spec.parts().begin(), spec.parts().end()})));
}

TEST(ModelCacheTest, PutsADirectoryTogetherFromItsFiles) {
  const testing::ScratchDirectory scratch;
  testing::TestRun run = testing::MakeTestRun(scratch.path(), 1);
  const std::string directory = scratch.File("hf");
  ASSERT_TRUE(testing::WriteTinyHfModel(directory).ok());
  const auto store = std::move(BlobStore::Open(scratch.File("store"))).value();
  StoreDirectory(directory, *store, run.plan);
  std::filesystem::remove_all(directory);
  testing::FakeEngine engine;
  // The second finds what the first put together.
  for (int process = 0; process < 2; ++process) {
    ModelCache cache(
        store.get(),
        [&](std::string_view) -> absl::StatusOr<Engine*> { return &engine; },
        1);
    ASSERT_TRUE(cache.UseEngine("auto").ok());
    const absl::Status loaded = cache.Open(run.plan);
    ASSERT_TRUE(loaded.ok()) << loaded;
    EXPECT_EQ(cache.model().tensors().size(), 2u + 2 * 9);
    EXPECT_EQ(cache.model().tokenizer().eos(), 2);
  }
}

}  // namespace
}  // namespace edgetune
