// A device that holds a teacher, under plans that ask for one.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/atomic_file.h"
#include "client/own_teacher.h"
#include "tests/client/client_world.h"
#include "tests/testing/tiny_model.h"

namespace edgetune {
namespace {

namespace fs = std::filesystem;
using testing::ClientWorld;
using ::testing::HasSubstr;

class ClientTeacherTest : public ClientWorld {
 protected:
  void SetUp() override {
    ClientWorld::SetUp();
    teacher_ = scratch_.File("teacher.gguf");
    ASSERT_TRUE(
        testing::WriteTinyModel(teacher_, {.layers = 3, .seed = 9}).ok());
    v1::TrainSpec& train = *run_.plan.mutable_train();
    train.set_teacher_alpha(0.5);
    train.set_teacher_temperature(2);
    train.set_teacher_top_k(4);
    file_.train.teacher = teacher_;
    answers_ = TeacherCacheIn(file_.state);
    ASSERT_FALSE(answers_.empty());
  }

  // The update of one round, of a device without a past.
  std::string Update() {
    Start(/*once=*/true);
    Assign(Manifest(0));
    const v1::Report report = NextReport();
    const std::string update = transport_->uploads[report.update_digest()];
    Answer(report.session(), v1::Outcome::ACCEPTED);
    EXPECT_TRUE(Wait().ok());
    for (const char* name : {"client.db", "client.db-wal", "client.db-shm"}) {
      fs::remove(scratch_.File(name));
    }
    return update;
  }

  std::string teacher_, answers_;
};

TEST_F(ClientTeacherTest, LearnsFromItWhereThePlanAsks) {
  const std::string taught = Update();
  EXPECT_EQ(engine_.asked, 1);
  file_.train.teacher.clear();
  const std::string labels = Update();
  EXPECT_NE(taught, labels);
  run_.plan.mutable_train()->clear_teacher_alpha();
  run_.plan.mutable_train()->clear_teacher_temperature();
  run_.plan.mutable_train()->clear_teacher_top_k();
  file_.train.teacher = teacher_;
  EXPECT_EQ(Update(), labels);
  EXPECT_EQ(engine_.asked, 1);
}

TEST_F(ClientTeacherTest, AsksOnceAndAgainOnlyForOtherAnswers) {
  const std::string taught = Update();
  // They tell much of the examples.
  EXPECT_EQ(fs::status(answers_).permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(Update(), taught);  // started again
  EXPECT_EQ(engine_.asked, 1);
  const std::string whole = *ReadFile(answers_);
  std::ofstream(answers_, std::ios::binary) << whole.substr(0, 200);
  EXPECT_EQ(Update(), taught);
  EXPECT_EQ(engine_.asked, 2);
  EXPECT_EQ(*ReadFile(answers_), whole);
  run_.plan.mutable_train()->set_teacher_top_k(7);
  EXPECT_NE(Update(), taught);
  EXPECT_EQ(engine_.asked, 3);
  // Another model in the same place.
  ASSERT_TRUE(testing::WriteTinyModel(teacher_, {.seed = 10}).ok());
  Update();
  EXPECT_EQ(engine_.asked, 4);
}

TEST_F(ClientTeacherTest, OneThatIsNotThereOrSpeaksOtherwiseIsNoTeacher) {
  // The coordinator hears that the device cannot, its log why.
  file_.train.teacher = scratch_.File("nothing.gguf");
  Start();
  Assign(Manifest(0));
  EXPECT_EQ(NextDeclined().reason(), v1::Declined::UNABLE);
  EXPECT_EQ(engine_.trainings, 0);
  EXPECT_TRUE(Stop().ok());
}

}  // namespace
}  // namespace edgetune
