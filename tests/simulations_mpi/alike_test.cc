// Which ranks may work together, and what is told of one that may not.

#include "simulations/mpi/alike.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/mapped_file.h"
#include "base/status.h"
#include "privacy/crypto/hash.h"

namespace edgetune {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Hello Sample() {
  return {.host = "node3",
          .processor = "p",
          .program = "program",
          .base = "base",
          .plan = "plan",
          .engine = "fused",
          .bf16 = true,
          .workers = 2,
          .ready = absl::OkStatus()};
}

void ExpectRefused(const Hello& other, ErrorKind kind,
                   const std::string& word) {
  const absl::Status status = CheckAlike(Sample(), other, 2);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("rank 2"), HasSubstr("node3"), HasSubstr(word)));
  EXPECT_EQ(KindOf(status), kind);
  EXPECT_NE(HintOf(status), "");
}

TEST(AlikeTest, HostProcessorAndWorkersMayDiffer) {
  Hello other = Sample();
  other.host = "node4";
  other.processor = "q";
  other.workers = 9;
  EXPECT_TRUE(CheckAlike(Sample(), other, 1).ok());
}

TEST(AlikeTest, WhatDecidesBitsMayNot) {
  Hello other = Sample();
  other.program = "older";
  ExpectRefused(other, ErrorKind::kFailed, "another build");
  other = Sample();
  other.plan = "other";
  ExpectRefused(other, ErrorKind::kConfig, "another run file");
  // A plan names its base: that is told first.
  other.base = "other";
  ExpectRefused(other, ErrorKind::kModel, "another base model");
  other = Sample();
  other.engine = "reference";
  ExpectRefused(other, ErrorKind::kConfig, "reference");
  other = Sample();
  other.bf16 = false;
  ExpectRefused(other, ErrorKind::kConfig, "bf16");
}

TEST(AlikeTest, WhyARankCannotWorkKeepsKindAndHint) {
  Hello other = Sample();
  other.plan = other.base = "";
  other.ready = Annotate(absl::NotFoundError("no model here"),
                         ErrorKind::kModel, "fetch it");
  ExpectRefused(other, ErrorKind::kModel, "no model here");
}

TEST(AlikeTest, AnotherBuildIsToldBeforeWhatItComplainsOf) {
  Hello other = Sample();
  other.program = "older";
  other.ready = absl::InvalidArgumentError("unknown key");
  ExpectRefused(other, ErrorKind::kFailed, "another build");
}

TEST(AlikeTest, AProcessorIsCalledWhatTheKernelCallsIt) {
  EXPECT_EQ(ProcessorIn("processor\t: 0\nmodel name\t: A B @ 2 GHz\nx: 1\n"
                        "model name\t: C\n"),
            "A B @ 2 GHz");
  EXPECT_EQ(ProcessorIn("model name"), "");
  EXPECT_EQ(ProcessorIn("Features\t: fp asimd\n"), "");
  EXPECT_EQ(ProcessorIn(""), "");
}

TEST(AlikeTest, AProgramIsTheDigestOfItsFile) {
  const auto file = MappedFile::Open("/proc/self/exe");
  ASSERT_TRUE(file.ok());
  const std::string_view bytes(
      reinterpret_cast<const char*>((*file)->bytes().data()),
      (*file)->bytes().size());
  EXPECT_EQ(*ProgramDigest(), Sha256Bytes(bytes));
}

TEST(AlikeTest, ACrowdedMachineIsShared) {
  const size_t cores = std::thread::hardware_concurrency();
  EXPECT_LE(WorkersBeside(1), cores);
  EXPECT_GE(WorkersBeside(1), WorkersBeside(2));
  EXPECT_EQ(WorkersBeside(static_cast<int>(2 * cores)), 1u);
}

}  // namespace
}  // namespace edgetune
