// Summaries between wire and core, and the ones that Combine accepts.
#include "core/sums/summary.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "core/problem/error.h"
#include "lossd/v1/criterion.pb.h"
#include "proto/codec/summary_codec.h"
#include "tests/support/problem.h"

namespace lossd::testing {
namespace {

constexpr int kProblems = 300;

/// Problems with rare values in logits and weights: NaN, infinities, 0 and -3.
OwnedProblem WildProblem(uint64_t seed) {
  std::mt19937_64 random(seed);
  OwnedProblem problem = RandomProblem(&random);
  const std::vector<double> wild = {NAN, HUGE_VAL, -HUGE_VAL, 0.0, -3.0};
  for (OwnedTensor* tensor : {&problem.input, problem.weight ? &*problem.weight : nullptr}) {
    if (tensor == nullptr || random() % 2 == 0) continue;
    std::vector<double> values = Values(tensor->spec.dtype, tensor->bytes);
    for (double& value : values) {
      if (random() % 5 == 0) value = wild[random() % wild.size()];
    }
    *tensor = MakeTensor(tensor->spec.dtype, tensor->spec.shape, values);
  }
  return problem;
}

// The summary of any problem is accepted, by itself and merged.
TEST(Summary, RoundTripsWhateverTheProblem) {
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    const auto results = RunBatch(WildProblem(seed));
    ASSERT_TRUE(results.ok()) << results.status();
    v1::Summary wire;
    ToWire(results->summary, &wire);
    const auto back = ParseSummary(wire, "summary");
    ASSERT_TRUE(back.ok()) << back.status();
    Results other = *results;
    other.summary = *back;
    EXPECT_EQ(Difference(*results, other), "");
    const auto twice = Combine({*back, *back});
    ASSERT_TRUE(twice.ok()) << twice.status();
    ToWire(*twice, &wire);
    EXPECT_TRUE(ParseSummary(wire, "summary").ok()) << ParseSummary(wire, "summary").status();
  }
}

struct BadSummary {
  std::string field;
  std::string reason;
  std::function<void(v1::Summary*)> change;
};

const char kSmoothing[] = "criterion.cross_entropy.label_smoothing";

std::vector<BadSummary> BadOptions() {
  return {
      {kSmoothing, "LABEL_SMOOTHING_RANGE",
       [](v1::Summary* s) {
         s->mutable_criterion()->mutable_cross_entropy()->set_label_smoothing(7);
       }},
      {kSmoothing, "LABEL_SMOOTHING_RANGE",
       [](v1::Summary* s) {
         s->mutable_criterion()->mutable_cross_entropy()->set_label_smoothing(NAN);
       }},
      {"criterion.normalizer", "NORMALIZER_RANGE",
       [](v1::Summary* s) { s->mutable_criterion()->set_normalizer(0); }},
      {"criterion.normalizer", "NORMALIZER_RANGE",
       [](v1::Summary* s) { s->mutable_criterion()->set_normalizer(NAN); }},
      {"criterion.normalizer", "NORMALIZER_WITHOUT_MEAN",
       [](v1::Summary* s) {
         s->mutable_criterion()->set_normalizer(2);
         s->mutable_criterion()->set_reduction(v1::REDUCTION_SUM);
       }},
      {"criterion.reduction", "ENUM_UNKNOWN",
       [](v1::Summary* s) {
         s->mutable_criterion()->set_reduction(static_cast<v1::Reduction>(77));
       }},
      {"criterion", "FIELD_MISSING", [](v1::Summary* s) { s->clear_criterion(); }},
      {"criterion.cross_entropy.weight", "SUMMARY_MISMATCH",
       [](v1::Summary* s) { s->mutable_criterion()->mutable_cross_entropy()->mutable_weight(); }},
      {"criterion.cross_entropy.class_axis", "SUMMARY_MISMATCH",
       [](v1::Summary* s) { s->mutable_criterion()->mutable_cross_entropy()->set_class_axis(0); }},
      {"dtype", "DTYPE_UNSUPPORTED", [](v1::Summary* s) { s->set_dtype(v1::DATA_TYPE_INT8); }},
      {"dtype", "DTYPE_MISSING", [](v1::Summary* s) { s->clear_dtype(); }},
      {"target_kind", "ENUM_UNKNOWN", [](v1::Summary* s) { s->clear_target_kind(); }},
      {"classes", "CLASSES_EMPTY", [](v1::Summary* s) { s->set_classes(-1); }},
      {"weight_digest", "LENGTH_MISMATCH", [](v1::Summary* s) { s->set_weight_digest("1234567"); }},
      {"weight_digest", "SUMMARY_INCONSISTENT",
       [](v1::Summary* s) { s->set_weight_digest(std::string(8, '\0')); }},
  };
}

// Changes to the summary of a problem of four positions, one of them ignored.
std::vector<BadSummary> BadCounts() {
  constexpr char kBad[] = "SUMMARY_INCONSISTENT";
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  return {
      {"ignored", kBad, [](v1::Summary* s) { s->set_ignored(5); }},
      {"ignored", kBad, [](v1::Summary* s) { s->clear_positions(); }},
      {"correct", kBad, [](v1::Summary* s) { s->set_correct(4); }},
      {"correct", kBad, [](v1::Summary* s) { s->set_correct(kMost); }},
      {"correct_top_k", kBad, [](v1::Summary* s) { s->set_correct_top_k(4); }},
      {"correct_top_k", kBad, [](v1::Summary* s) { s->set_top_k(0); }},
      {"correct_top_k", kBad, [](v1::Summary* s) { s->set_correct_top_k(1); }},
      {"loss_sum", "SUMMARY_OVERFLOW",
       [](v1::Summary* s) { s->mutable_loss_sum()->set_units(std::string(1000, 'x')); }},
      {"loss_sum", kBad, [](v1::Summary* s) { s->mutable_loss_sum()->set_nan_count(4); }},
      {"loss_sum", kBad,
       [](v1::Summary* s) {
         s->mutable_loss_sum()->set_nan_count(kMost);
         s->mutable_loss_sum()->set_positive_infinity_count(2);
       }},
      {"loss_sum", kBad,
       [](v1::Summary* s) {
         s->mutable_loss_sum()->set_positive_infinity_count(2);
         s->mutable_loss_sum()->set_negative_infinity_count(2);
       }},
      {"normalizer", kBad, [](v1::Summary* s) { s->clear_normalizer(); }},
      {"normalizer", kBad, [](v1::Summary* s) { s->set_positions(5); }},
      {"normalizer", kBad, [](v1::Summary* s) { s->mutable_normalizer()->set_nan_count(1); }},
      {"normalizer", kBad,
       [](v1::Summary* s) {
         s->set_weight_digest("12345678");
         s->mutable_normalizer()->set_nan_count(4);
       }},
      {"ignored", kBad, [](v1::Summary* s) { s->set_target_kind(v1::TARGET_KIND_PROBABILITIES); }},
  };
}

TEST(Summary, IsRefusedWhereNoProblemCanHaveGivenIt) {
  OwnedProblem problem =
      MakeIndex(DType::kFloat32, {4, 2}, {1, 0, 1, 0, 0, 1, 1, 0}, {0, 0, 0, -100});
  problem.outputs.top_k = 2;
  v1::Summary good;
  ToWire(RunBatch(problem)->summary, &good);
  ASSERT_TRUE(ParseSummary(good, "summaries[3]").ok());
  ASSERT_EQ(good.correct(), 2U);
  ASSERT_EQ(good.correct_top_k(), 3U);
  std::vector<BadSummary> cases = BadOptions();
  for (BadSummary& bad : BadCounts()) cases.push_back(std::move(bad));
  for (const BadSummary& bad : cases) {
    v1::Summary wire = good;
    bad.change(&wire);
    const absl::Status status = ParseSummary(wire, "summaries[3]").status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad.field << " " << status;
    EXPECT_EQ(GetErrorDetail(status).field, "summaries[3]." + bad.field) << status;
    EXPECT_EQ(GetErrorDetail(status).reason, bad.reason) << status;
  }
}

TEST(Summary, IgnoreIndexWithProbabilities) {
  OwnedProblem problem = MakeIndex(DType::kFloat32, {1, 2}, {1, 0}, {0});
  problem.target = MakeTensor(DType::kFloat32, {1, 2}, {0.5, 0.5});
  v1::Summary wire;
  ToWire(RunBatch(problem)->summary, &wire);
  ASSERT_TRUE(ParseSummary(wire, "s").ok());
  wire.mutable_criterion()->mutable_cross_entropy()->set_ignore_index(1);
  EXPECT_EQ(GetErrorDetail(ParseSummary(wire, "s").status()).reason,
            "IGNORE_INDEX_WITH_PROBABILITIES");
}

// An absent field means its default.
TEST(Summary, DefaultsMayBeLeftOut) {
  const OwnedProblem problem = MakeIndex(DType::kFloat32, {1, 2}, {1, 0}, {0});
  v1::Summary full;
  ToWire(RunBatch(problem)->summary, &full);
  v1::Summary bare = full;
  bare.mutable_criterion()->clear_reduction();
  bare.mutable_criterion()->clear_empty_mean();
  bare.mutable_criterion()->mutable_cross_entropy()->clear_ignore_index();
  const auto combined = Combine({*ParseSummary(full, ""), *ParseSummary(bare, "")});
  EXPECT_TRUE(combined.ok()) << combined.status();
}

// Languages without 64-bit integers can pass the digest on as bytes.
TEST(Summary, TheDigestIsEightLittleEndianBytes) {
  OwnedProblem problem = MakeIndex(DType::kFloat32, {1, 2}, {1, 0}, {0});
  v1::Summary wire;
  ToWire(RunBatch(problem)->summary, &wire);
  EXPECT_EQ(wire.weight_digest(), "");
  Summary summary = RunBatch(problem)->summary;
  summary.weight_digest = 0x00FF030200000001;
  ToWire(summary, &wire);
  EXPECT_EQ(wire.weight_digest(), std::string("\x01\0\0\0\x02\x03\xff\0", 8));
  EXPECT_EQ(ParseSummary(wire, "")->weight_digest, summary.weight_digest);
}

}  // namespace
}  // namespace lossd::testing
