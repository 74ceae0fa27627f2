// The codec and the status bridge: round trips, and bad messages with their errors.
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/problem/error.h"
#include "google/rpc/error_details.pb.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/status_bridge.h"
#include "proto/codec/tensor_codec.h"
#include "tests/support/problem.h"

namespace lossd::testing {
namespace {

template <typename Message>
Message Parse(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

constexpr char kGood[] = R"(
  criterion { cross_entropy {} }
  input { shape: [2, 2] float_values { values: [1, 2, 3, 4] } }
  target { shape: [2] int64_values { values: [0, 1] } })";

TEST(Codec, AcceptsTypedValues) {
  const auto request = Parse<v1::EvaluateRequest>(kGood);
  const auto parsed = ParseRequest(request, {});
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_TRUE(parsed->typed);
  EXPECT_EQ(parsed->plan->input().dtype, DType::kFloat32);
  EXPECT_EQ(parsed->plan->target().dtype, DType::kInt64);
}

struct BadMessage {
  std::string change;  // Merged into kGood after the field `cleared` is cleared.
  std::string cleared;
  std::string field;
  std::string reason;
};

TEST(Codec, RefusesBadMessagesByField) {
  const std::string shared = R"(input { dtype: DATA_TYPE_FLOAT32 shape: [1, 1] shared_memory {} })";
  const std::vector<BadMessage> cases = {
      {"", "criterion", "criterion", "FIELD_MISSING"},
      {"criterion {}", "criterion", "criterion", "FIELD_MISSING"},
      {"", "input", "input", "FIELD_MISSING"},
      {"", "target", "target", "FIELD_MISSING"},
      {"criterion { reduction: 77 }", "", "criterion.reduction", "ENUM_UNKNOWN"},
      {"criterion { empty_mean: 77 }", "", "criterion.empty_mean", "ENUM_UNKNOWN"},
      {"input { dtype: 77 }", "", "input.dtype", "ENUM_UNKNOWN"},
      {"input { dtype: DATA_TYPE_INT8 }", "", "input.dtype", "DTYPE_MISMATCH"},
      {R"(input { shape: [2, 2] raw: "" })", "input", "input.dtype", "DTYPE_MISSING"},
      {R"(input { dtype: 1 shape: [2, 2] raw: "abc" })", "input", "input", "LENGTH_MISMATCH"},
      {"input { dtype: 1 shape: [2, 2] }", "input", "input", "FIELD_MISSING"},
      {"input { shape: [2, 3] float_values { values: [1] } }", "input", "input", "LENGTH_MISMATCH"},
      {"input { shape: [-1, 2] float_values {} }", "input", "input.shape", "SIZE_NEGATIVE"},
      {"input { shape: [4611686018427387904, 4] float_values {} }", "input", "input.shape",
       "SHAPE_OVERFLOW"},
      {"input { dtype: 5 shape: [1, 1] int64_values { values: 300 } }", "input", "input[0]",
       "VALUE_RANGE"},
      {"target { dtype: 9 shape: [2] int64_values { values: [0, -1] } }", "target", "target[1]",
       "VALUE_RANGE"},
      {"target { dtype: 1 shape: [2] int64_values { values: [0, 1] } }", "target", "target.dtype",
       "DTYPE_MISMATCH"},
      {"criterion { cross_entropy { weight { shape: 3 float_values { values: [1, 1, 1] } } } }", "",
       "criterion.cross_entropy.weight.shape", "SHAPE_MISMATCH"},
      {"grad_output { shape: 1 float_values { values: 1 } } outputs { grad_input: true }", "",
       "grad_output.shape", "SHAPE_MISMATCH"},
  };
  for (const BadMessage& bad : cases) {
    auto request = Parse<v1::EvaluateRequest>(kGood);
    if (!bad.cleared.empty()) {
      request.GetReflection()->ClearField(&request,
                                          request.GetDescriptor()->FindFieldByName(bad.cleared));
    }
    request.MergeFrom(Parse<v1::EvaluateRequest>(bad.change));
    const auto parsed = ParseRequest(request, {});
    ASSERT_FALSE(parsed.ok()) << bad.change;
    const ErrorDetail detail = GetErrorDetail(parsed.status());
    EXPECT_EQ(parsed.status().code(), absl::StatusCode::kInvalidArgument) << parsed.status();
    EXPECT_EQ(detail.field, bad.field) << bad.change << ": " << parsed.status();
    EXPECT_EQ(detail.reason, bad.reason) << bad.change << ": " << parsed.status();
  }
  auto request = Parse<v1::EvaluateRequest>(kGood);
  request.clear_input();
  request.MergeFrom(Parse<v1::EvaluateRequest>(shared));
  const auto parsed = ParseRequest(request, {});
  EXPECT_EQ(parsed.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(GetErrorDetail(parsed.status()).reason, "SHARED_MEMORY_UNAVAILABLE");
}

TEST(Codec, AWeightWithoutDataFollowsInAStreamOnly) {
  const std::string weight = "criterion { cross_entropy { weight { dtype: 1 shape: 2 } } }";
  auto request = Parse<v1::EvaluateRequest>(kGood);
  request.MergeFrom(Parse<v1::EvaluateRequest>(weight));
  const auto parsed = ParseRequest(request, {});
  EXPECT_EQ(GetErrorDetail(parsed.status()).field, "criterion.cross_entropy.weight");
  EXPECT_EQ(GetErrorDetail(parsed.status()).reason, "FIELD_MISSING");
  const std::string tensors = "input { dtype: 1 shape: [4, 2] } target { dtype: 8 shape: 4 }";
  const auto plan = ParseHeader(Parse<v1::EvaluateStreamHeader>(weight + tensors), {});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_TRUE((*plan)->weight_follows());
  const auto whole = ParseHeader(
      Parse<v1::EvaluateStreamHeader>(
          "criterion { cross_entropy { weight { shape: 2 float_values { values: [1, 2] } } } }" +
          tensors),
      {});
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_FALSE((*whole)->weight_follows());
  for (const auto& [spec, field, reason] :
       {std::tuple{"dtype: 1 shape: 3", ".shape", "SHAPE_MISMATCH"},
        std::tuple{"dtype: 2 shape: 2", ".dtype", "DTYPE_MISMATCH"},
        std::tuple{"shape: 2", ".dtype", "DTYPE_MISSING"},
        std::tuple{"dtype: 1 shape: -2", ".shape", "SIZE_NEGATIVE"}}) {
    const auto bad =
        ParseHeader(Parse<v1::EvaluateStreamHeader>(absl::StrCat(
                        "criterion { cross_entropy { weight { ", spec, " } } }", tensors)),
                    {});
    EXPECT_EQ(GetErrorDetail(bad.status()).field,
              absl::StrCat("header.criterion.cross_entropy.weight", field))
        << spec;
    EXPECT_EQ(GetErrorDetail(bad.status()).reason, reason) << spec;
  }
}

TEST(Codec, HeaderPathsBeginWithHeader) {
  const auto header = Parse<v1::EvaluateStreamHeader>(R"(
    criterion { cross_entropy { label_smoothing: 2 } }
    input { dtype: DATA_TYPE_FLOAT32 shape: [2, 2] }
    target { dtype: DATA_TYPE_INT64 shape: 2 })");
  const auto plan = ParseHeader(header, {});
  EXPECT_EQ(GetErrorDetail(plan.status()).field, "header.criterion.cross_entropy.label_smoothing");
}

TEST(Codec, TensorsRoundTripRawAndTyped) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16}) {
    const OwnedTensor tensor = MakeTensor(dtype, {2, 2}, {0.5, -1.25, HUGE_VAL, 3});
    for (const bool typed : {false, true}) {
      v1::Tensor wire;
      FillTensor(tensor.spec, tensor.bytes, typed, &wire);
      Bytes storage;
      const auto view = ParseTensor(wire, "t", &storage);
      ASSERT_TRUE(view.ok()) << view.status();
      EXPECT_EQ(HasTypedValues(wire), typed);
      EXPECT_EQ(Bytes(view->bytes.begin(), view->bytes.end()), tensor.bytes);
      EXPECT_EQ(view->spec.shape, tensor.spec.shape);
    }
  }
}

TEST(StatusBridge, DetailsTravelBothWays) {
  absl::Status status = InvalidField("input.shape", "SHAPE_MISMATCH", "expected this");
  SetErrorDetail(&status, {"", "", 1.5});
  status = WithMetadata(status, LimitMetadata("max_classes", 10, 12));
  const grpc::Status wire = ToGrpc(status);
  EXPECT_EQ(wire.error_code(), grpc::INVALID_ARGUMENT);
  google::rpc::Status proto;
  ASSERT_TRUE(proto.ParseFromString(wire.error_details()));
  google::rpc::BadRequest bad;
  google::rpc::ErrorInfo info;
  google::rpc::RetryInfo retry;
  ASSERT_EQ(proto.details_size(), 3);
  ASSERT_TRUE(proto.details(0).UnpackTo(&bad));
  EXPECT_EQ(bad.field_violations(0).field(), "input.shape");
  EXPECT_EQ(bad.field_violations(0).description(), "expected this");
  EXPECT_EQ(proto.message(), "input.shape: expected this");
  ASSERT_TRUE(proto.details(1).UnpackTo(&info));
  EXPECT_EQ(info.domain(), "lossd.v1");
  EXPECT_EQ(info.metadata().at("limit"), "max_classes");
  EXPECT_EQ(info.metadata().size(), 3U);
  ASSERT_TRUE(proto.details(2).UnpackTo(&retry));
  EXPECT_EQ(retry.retry_delay().nanos(), 500000000);
  const absl::Status back = FromGrpc(wire);
  EXPECT_EQ(back.message(), status.message());
  EXPECT_EQ(GetErrorDetail(back).field, "input.shape");
  EXPECT_EQ(GetErrorDetail(back).reason, "SHAPE_MISMATCH");
  EXPECT_EQ(GetErrorDetail(back).retry_after_s, 1.5);
  const ErrorMetadata metadata = {{"limit", "max_classes"}, {"limit_value", "10"}, {"value", "12"}};
  EXPECT_EQ(GetErrorDetail(back).metadata, metadata);
  EXPECT_TRUE(FromGrpc(grpc::Status::OK).ok());
  EXPECT_EQ(FromGrpc({grpc::UNAVAILABLE, "gone"}).code(), absl::StatusCode::kUnavailable);
}

// Metadata gives programs the requested and the expected value, and is kept when the field path
// gets a prefix.
TEST(StatusBridge, MetadataSaysLimitAndValue) {
  const auto metadata = [](const absl::Status& status) {
    const ErrorDetail before = GetErrorDetail(status);
    const ErrorDetail detail = GetErrorDetail(WithFieldPrefix(status, "request."));
    EXPECT_EQ(detail.metadata, before.metadata);
    EXPECT_EQ(detail.reason, before.reason);
    EXPECT_EQ(detail.field, "request." + before.field);
    return detail.metadata;
  };
  const auto of = [&metadata](const std::string& change, const PlanLimits& limits) {
    auto request = Parse<v1::EvaluateRequest>(kGood);
    request.MergeFrom(Parse<v1::EvaluateRequest>(change));
    return metadata(ParseRequest(request, limits).status());
  };
  PlanLimits limits = {1, 1, 1};
  EXPECT_EQ(of("", limits), LimitMetadata("max_rank", 1, 2));
  limits.max_rank = 2;
  EXPECT_EQ(of("", limits), LimitMetadata("max_classes", 1, 2));
  limits.max_classes = 2;
  EXPECT_EQ(of("", limits), LimitMetadata("max_positions", 1, 2));
  EXPECT_EQ(of("input { float_values { values: 5 } }", {}), ExpectedMetadata(4, 5));
  EXPECT_EQ(of(R"(input { dtype: 1 raw: "abc" })", {}), ExpectedMetadata(16, 3));
  auto request = Parse<v1::EvaluateRequest>(kGood);
  request.mutable_target()->set_dtype(v1::DATA_TYPE_UINT8);
  request.mutable_target()->mutable_int64_values()->set_values(1, -7);
  const ErrorMetadata value = {{"position", "1"}, {"value", "-7"}};
  EXPECT_EQ(metadata(ParseRequest(request, {}).status()), value);
  EXPECT_EQ(of("criterion { reduction: 77 }", {}), (ErrorMetadata{{"value", "77"}}));
}

}  // namespace
}  // namespace lossd::testing
