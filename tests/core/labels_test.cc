// Labels of every integer type, cut anywhere, and invalid labels.
#include "core/labels/labels.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/fork_join_pool.h"
#include "core/problem/error.h"
#include "tests/support/problem.h"

namespace lossd::testing {
namespace {

std::shared_ptr<const Plan> PlanFor(DType dtype, int64_t positions, int64_t classes,
                                    std::optional<int64_t> ignore = std::nullopt) {
  OwnedProblem problem;
  problem.criterion.cross_entropy().ignore_index = ignore;
  problem.input.spec = {DType::kFloat32, {positions, classes}};
  problem.target.spec = {dtype, {positions}};
  return problem.plan();
}

const std::vector<DType>& Integers() {
  static const std::vector<DType> types = {DType::kInt8,   DType::kInt16, DType::kInt32,
                                           DType::kInt64,  DType::kUInt8, DType::kUInt16,
                                           DType::kUInt32, DType::kUInt64};
  return types;
}

TEST(Labels, EveryWidthInPiecesOfEverySize) {
  for (const DType dtype : Integers()) {
    const OwnedTensor tensor = MakeTensor(dtype, {5}, {0, 3, 99, 7, 3});
    const auto plan = PlanFor(dtype, 5, 100, 7);
    for (size_t piece = 1; piece <= tensor.bytes.size(); ++piece) {
      Labels labels(*plan);
      for (size_t at = 0; at < tensor.bytes.size(); at += piece) {
        const size_t count = std::min(piece, tensor.bytes.size() - at);
        ASSERT_TRUE(labels.Append({tensor.bytes.data() + at, count}).ok());
      }
      ASSERT_EQ(labels.filled(), 5);
      EXPECT_EQ(labels.At(0), 0);
      EXPECT_EQ(labels.At(2), 99);
      EXPECT_EQ(labels.At(3), -1);
      EXPECT_EQ(labels.ignored(), 1U);
    }
  }
}

/// Many labels below 100; the tests ignore label 7.
OwnedTensor ManyLabels(DType dtype, int64_t positions) {
  std::vector<double> values(static_cast<size_t>(positions));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i * i % 100);
  for (size_t i = 0; i < values.size(); i += 3) values[i] = 7;
  return MakeTensor(dtype, {positions}, values);
}

TEST(Labels, AllAtOnceByManyThreadsAreTheSame) {
  constexpr int64_t kPositions = 30011;
  ForkJoinPool pool(3);
  for (const DType dtype : Integers()) {
    OwnedProblem problem;
    problem.criterion.cross_entropy().ignore_index = 7;
    problem.input.spec = {DType::kFloat32, {kPositions, 100}};
    problem.target = ManyLabels(dtype, kPositions);
    problem.weight = MakeTensor(DType::kFloat32, {100}, std::vector<double>(100, 1.0));
    const auto plan = problem.plan();
    Labels one_by_one(*plan);
    ASSERT_TRUE(one_by_one.Append(problem.target.bytes).ok());
    Labels at_once(*plan);
    ASSERT_TRUE(at_once.AppendAll(problem.target.bytes, &pool).ok());
    EXPECT_EQ(at_once.filled(), kPositions);
    EXPECT_GT(at_once.ignored(), 10000U);
    EXPECT_EQ(at_once.ignored(), one_by_one.ignored());
    EXPECT_EQ(at_once.class_counts(), one_by_one.class_counts());
    for (int64_t i = 0; i < kPositions; ++i) ASSERT_EQ(at_once.At(i), one_by_one.At(i)) << i;
  }
}

TEST(Labels, TheFirstBadOneOfManyIsNamed) {
  constexpr int64_t kPositions = 30011;
  const auto plan = PlanFor(DType::kInt64, kPositions, 100, 7);
  ForkJoinPool pool(3);
  for (const int64_t bad : {0, 2047, 2048, 17001, 30010}) {
    OwnedTensor tensor = ManyLabels(DType::kInt64, kPositions);
    for (const int64_t at : {bad, kPositions - 1}) {
      const int64_t value = 100 + at;
      std::memcpy(tensor.bytes.data() + at * 8, &value, sizeof(value));
    }
    Labels labels(*plan);
    const absl::Status status = labels.AppendAll(tensor.bytes, &pool);
    EXPECT_EQ(GetErrorDetail(status).field, absl::StrCat("target[", bad, "]"));
    EXPECT_NE(status.message().find(absl::StrCat("got ", 100 + bad)), std::string::npos) << status;
  }
}

TEST(Labels, StoredInTheNarrowestType) {
  for (const int64_t classes : {254, 255, 256, 65535, 65536, 1 << 20}) {
    const auto plan = PlanFor(DType::kInt32, 3, classes);
    EXPECT_EQ(Labels::StoredBytes(*plan), 3U * (classes <= 255 ? 1 : classes <= 65535 ? 2 : 4));
    Labels labels(*plan);
    const auto last = static_cast<double>(classes - 1);
    ASSERT_TRUE(labels.Append(MakeTensor(DType::kInt32, {3}, {last, -100, 0}).bytes).ok());
    EXPECT_EQ(labels.At(0), classes - 1);
    EXPECT_EQ(labels.At(1), -1);
    EXPECT_EQ(labels.At(2), 0);
  }
}

TEST(Labels, IgnoreIndexIsComparedWithoutWrap) {
  // Wrapped to uint8, -100 would be 156; wrapped to uint64, 2^64 - 100.
  const auto small = PlanFor(DType::kUInt8, 1, 200);
  Labels bytes(*small);
  ASSERT_TRUE(bytes.Append(MakeTensor(DType::kUInt8, {1}, {156}).bytes).ok());
  EXPECT_EQ(bytes.At(0), 156);
  const auto wide = PlanFor(DType::kUInt64, 1, 200);
  Labels words(*wide);
  const absl::Status status = words.Append(MakeTensor(DType::kUInt64, {1}, {0x1p64 - 2048}).bytes);
  EXPECT_EQ(GetErrorDetail(status).reason, "LABEL_OUT_OF_RANGE");
  EXPECT_NE(status.message().find("18446744073709549568"), absl::string_view::npos)
      << status.message();
}

TEST(Labels, OutOfRangeNamesPositionAndValue) {
  for (const double label : {10.0, -1.0, 127.0}) {
    const auto plan = PlanFor(DType::kInt8, 3, 10);
    Labels labels(*plan);
    const absl::Status status = labels.Append(MakeTensor(DType::kInt8, {3}, {0, 9, label}).bytes);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(GetErrorDetail(status).field, "target[2]");
    EXPECT_EQ(GetErrorDetail(status).reason, "LABEL_OUT_OF_RANGE");
    EXPECT_NE(status.message().find(std::to_string(static_cast<int>(label))),
              absl::string_view::npos);
  }
}

TEST(Labels, MoreThanPositions) {
  const auto plan = PlanFor(DType::kInt16, 1, 10);
  Labels labels(*plan);
  const absl::Status status = labels.Append(MakeTensor(DType::kInt16, {2}, {0, 0}).bytes);
  EXPECT_EQ(GetErrorDetail(status).reason, "LENGTH_EXCEEDED");
  Labels half(*plan);
  Bytes bytes = MakeTensor(DType::kInt16, {1}, {0}).bytes;
  bytes.push_back(std::byte{0});
  EXPECT_EQ(GetErrorDetail(half.Append(bytes)).reason, "LENGTH_EXCEEDED");
}

}  // namespace
}  // namespace lossd::testing
