#include "base/status.h"

#include <cerrno>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace edgetune {
namespace {

using ::testing::HasSubstr;

std::string MessageOf(const absl::Status& status) {
  return std::string(status.message());
}

TEST(StatusTest, CarriesKindAndHintOnce) {
  const absl::Status inner = Annotate(absl::InvalidArgumentError("bad tensor"),
                                      ErrorKind::kModel, "fetch it again");
  // The room nearest to the fault knows best.
  const absl::Status outer = Annotate(inner, ErrorKind::kFailed, "give up");
  EXPECT_EQ(KindOf(outer), ErrorKind::kModel);
  EXPECT_EQ(HintOf(outer), "fetch it again");
  EXPECT_EQ(ExitCodeOf(outer), 4);
}

TEST(StatusTest, LeavesOkAlone) {
  EXPECT_TRUE(Annotate(absl::OkStatus(), ErrorKind::kModel, "hint").ok());
  EXPECT_TRUE(Prefix(absl::OkStatus(), "context").ok());
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), 0);
  EXPECT_EQ(HintOf(absl::OkStatus()), "");
}

TEST(StatusTest, KeepsCodeAndAnnotationsUnderAPrefix) {
  const absl::Status status =
      Prefix(Annotate(absl::DataLossError("digest differs"),
                      ErrorKind::kDigestMismatch, "try again"),
             "part 3");
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(MessageOf(status), "part 3: digest differs");
  EXPECT_EQ(KindOf(status), ErrorKind::kDigestMismatch);
  EXPECT_EQ(HintOf(status), "try again");
}

// The exit codes of the output contract.
TEST(StatusTest, GivesEachKindItsExitCode) {
  const std::pair<ErrorKind, int> table[] = {
      {ErrorKind::kUsage, 4},          {ErrorKind::kConfig, 4},
      {ErrorKind::kModel, 4},          {ErrorKind::kData, 4},
      {ErrorKind::kConnection, 2},     {ErrorKind::kIdentity, 2},
      {ErrorKind::kPortInUse, 2},      {ErrorKind::kNotEnoughClients, 3},
      {ErrorKind::kDigestMismatch, 1}, {ErrorKind::kDiskFull, 1},
      {ErrorKind::kFailed, 1},         {ErrorKind::kInternal, 5}};
  for (const auto& [kind, code] : table) {
    EXPECT_EQ(ExitCodeOf(Annotate(absl::UnknownError("x"), kind)), code)
        << ErrorCodeName(kind);
  }
  EXPECT_EQ(ErrorCodeName(ErrorKind::kPortInUse), "port_in_use");
}

TEST(StatusTest, GuessesTheKindFromTheCodeWithoutAnnotation) {
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("x")), 2);
  EXPECT_EQ(ExitCodeOf(absl::PermissionDeniedError("x")), 2);
  EXPECT_EQ(ExitCodeOf(absl::InternalError("x")), 5);
  EXPECT_EQ(ExitCodeOf(absl::AbortedError("x")), 1);
}

TEST(StatusTest, TurnsErrnoIntoACodeThatNamesTheFile) {
  const auto missing = ErrnoStatus(ENOENT, "cannot open", "/x/y");
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(MessageOf(missing), HasSubstr("cannot open /x/y"));
  EXPECT_EQ(ErrnoStatus(EACCES, "a", "b").code(),
            absl::StatusCode::kFailedPrecondition);
  const auto full = ErrnoStatus(ENOSPC, "cannot write", "/x/y");
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(KindOf(full), ErrorKind::kDiskFull);
  EXPECT_NE(HintOf(full), "");
}

absl::StatusOr<int> Half(int x) {
  if (x % 2 != 0) return absl::InvalidArgumentError("odd");
  return x / 2;
}

absl::StatusOr<int> Quarter(int x) {
  EDGETUNE_RETURN_IF_ERROR(Half(x));
  EDGETUNE_ASSIGN_OR_RETURN(const int half, Half(x));
  return Half(half);
}

TEST(StatusTest, ReturnsTheFirstErrorThroughTheMacros) {
  EXPECT_EQ(*Quarter(12), 3);
  EXPECT_EQ(MessageOf(Quarter(6).status()), "odd");
  EXPECT_EQ(MessageOf(Quarter(5).status()), "odd");
}

}  // namespace
}  // namespace edgetune
