// Small calls bypass Protobuf's message classes and must get the same results as with them.
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "core/sums/exact_sum.h"
#include "core/sums/summary.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/problem_codec.h"
#include "proto/codec/request_form.h"
#include "proto/codec/summary_codec.h"
#include "proto/codec/tensor_codec.h"
#include "proto/codec/wire_read.h"
#include "proto/codec/wire_write.h"
#include "tests/support/problem.h"
#include "tests/support/wire.h"

namespace lossd::testing {
namespace {

constexpr int kProblems = 60;

std::string ToString(absl::Span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::shared_ptr<const RequestForm> FormOf(const std::string& message) {
  v1::EvaluateRequest request;
  EXPECT_TRUE(request.ParseFromString(message));
  const auto parsed = ParseRequest(request, {});
  EXPECT_TRUE(parsed.ok()) << parsed.status();
  return RequestForm::Of(message, parsed->plan);
}

/// Encodes the request with its fields in random order, as any encoder may.
std::string InAnyOrder(const v1::EvaluateRequest& request, std::mt19937_64* random) {
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  request.GetReflection()->ListFields(request, &fields);
  std::shuffle(fields.begin(), fields.end(), *random);
  std::string message;
  for (const auto* field : fields) {
    const auto& part = request.GetReflection()->GetMessage(request, field);
    AppendField(field->number(), part.SerializeAsString(), &message);
  }
  return message;
}

// Changing a byte of a request changes the value of a tensor, or the message no longer fits the
// form.
TEST(RequestForm, IsAllButTheValues) {
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    std::mt19937_64 random(seed);
    const std::string message = InAnyOrder(MakeRequest(RandomProblem(&random)), &random);
    const auto form = FormOf(message);
    ASSERT_NE(form, nullptr) << "seed " << seed;
    for (size_t i = 0; i < message.size(); ++i) {
      std::string changed = message;
      changed[i] = static_cast<char>(changed[i] ^ (1 << (random() % 8)));
      const Operands operands = form->OperandsOf(changed);
      const auto* byte = reinterpret_cast<const std::byte*>(changed.data()) + i;
      const auto within = [byte](absl::Span<const std::byte> bytes) {
        return byte >= bytes.data() && byte < bytes.data() + bytes.size();
      };
      const bool is_value =
          within(operands.input) || within(operands.target) || within(operands.grad_output);
      ASSERT_EQ(form->Fits(changed), is_value) << "seed " << seed << ", byte " << i;
      if (!is_value) continue;
      v1::EvaluateRequest parsed;
      ASSERT_TRUE(parsed.ParseFromString(changed));
      ASSERT_EQ(ToString(operands.input), parsed.input().raw());
      ASSERT_EQ(ToString(operands.target), parsed.target().raw());
      ASSERT_EQ(ToString(operands.grad_output), parsed.grad_output().raw());
    }
    EXPECT_FALSE(form->Fits(message + '\0'));
    EXPECT_FALSE(form->Fits(message.substr(0, message.size() - 1)));
    EXPECT_FALSE(form->Fits(""));
  }
}

v1::EvaluateRequest Good() {
  OwnedProblem problem = MakeIndex(DType::kFloat32, {2, 3}, {1, 2, 3, 4, 5, 6}, {0, 2});
  problem.weight = MakeTensor(DType::kFloat32, {3}, {1, 2, 3});
  return MakeRequest(problem);
}

TEST(RequestForm, HasNoneWhereParsingWouldFindMore) {
  ASSERT_NE(FormOf(Good().SerializeAsString()), nullptr);
  v1::EvaluateRequest typed = Good();
  typed.mutable_input()->mutable_float_values()->mutable_values()->Resize(6, 1.0F);
  EXPECT_EQ(FormOf(typed.SerializeAsString()), nullptr);

  // Protobuf takes the last of two raw fields and merges two tensors.
  const std::string good = Good().SerializeAsString();
  v1::EvaluateRequest again;
  again.mutable_input()->set_raw(Good().input().raw());
  EXPECT_EQ(FormOf(good + again.SerializeAsString()), nullptr);
  v1::EvaluateRequest twice = Good();
  std::string input = twice.input().SerializeAsString();
  v1::Tensor raw;
  raw.set_raw(twice.input().raw());
  input += raw.SerializeAsString();
  twice.clear_input();
  std::string message = twice.SerializeAsString();
  AppendField(v1::EvaluateRequest::kInputFieldNumber, input, &message);
  EXPECT_EQ(FormOf(message), nullptr);

  // A field of a later version, in the request and in a tensor.
  message = good;
  AppendField(14, "later", &message);
  EXPECT_EQ(FormOf(message), nullptr);
  message = good + std::string("\x70\x01", 2);  // Field 14 as a varint.
  EXPECT_EQ(FormOf(message), nullptr);
  message = good + std::string("\x71\0\0\0\0\0\0\0\0", 9);  // Field 14 as 64 bits.
  EXPECT_EQ(FormOf(message), nullptr);
  message = twice.SerializeAsString();
  input = Good().input().SerializeAsString();
  AppendField(9, "later", &input);
  AppendField(v1::EvaluateRequest::kInputFieldNumber, input, &message);
  EXPECT_EQ(FormOf(message), nullptr);

  // Tensors of no values have a form, tensors without raw bytes do not. A long rest has none
  // either: forms are cached, so they must be short.
  const OwnedProblem empty = MakeIndex(DType::kFloat32, {0, 3}, {}, {});
  EXPECT_NE(FormOf(MakeRequest(empty).SerializeAsString()), nullptr);
  v1::EvaluateRequest absent = MakeRequest(empty);
  absent.mutable_input()->clear_raw();
  EXPECT_EQ(FormOf(absent.SerializeAsString()), nullptr);
  OwnedProblem heavy = MakeIndex(DType::kFloat32, {1, 2000}, std::vector<double>(2000, 1.0), {0});
  heavy.weight = MakeTensor(DType::kFloat32, {2000}, std::vector<double>(2000, 1.0));
  EXPECT_EQ(FormOf(MakeRequest(heavy).SerializeAsString()), nullptr);
}

// Two forms of the same size replace each other in the cache.
TEST(RequestForms, GivesThatOfTheMessageOrNone) {
  v1::EvaluateRequest mean = Good();
  v1::EvaluateRequest sum = Good();
  sum.mutable_criterion()->set_reduction(v1::REDUCTION_SUM);
  const std::string messages[] = {mean.SerializeAsString(), sum.SerializeAsString()};
  ASSERT_EQ(messages[0].size(), messages[1].size());
  RequestForms forms;
  EXPECT_EQ(forms.Find(messages[0]), nullptr);
  for (int i = 0; i < 4; ++i) {
    forms.Keep(FormOf(messages[i % 2]));
    const auto found = forms.Find(messages[i % 2]);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(found->plan()->criterion().reduction,
              i % 2 == 0 ? Reduction::kMean : Reduction::kSum);
    EXPECT_EQ(forms.Find(messages[1 - i % 2]), nullptr);
  }
  forms.Keep(nullptr);
  EXPECT_NE(forms.Find(messages[1]), nullptr);
}

TEST(WireWrite, AsProtobufWrites) {
  using Response = v1::EvaluateResponse;
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    std::mt19937_64 random(seed);
    const OwnedProblem problem = RandomProblem(&random);
    const auto results = RunBatch(problem);
    ASSERT_TRUE(results.ok());
    const ResponseFrame all = FrameOf(*problem.plan(), FrameOf(results->summary));
    const auto add = [](const std::string& head, const Bytes& bytes) {
      return head + ToString(bytes);
    };
    std::string written = add(all.loss, results->loss) +
                          add(all.log_sum_exp, results->log_sum_exp) +
                          add(all.grad_weight, results->grad_weight);
    AppendSummary(Response::kSummaryFieldNumber, all.summary, results->summary, &written);
    written +=
        add(all.grad_target, results->grad_target) + add(all.grad_input, results->grad_input);
    ASSERT_EQ(written, MakeResponse(problem, *results).SerializeAsString()) << "seed " << seed;
  }
}

std::string Encoded(const Summary& summary) {
  v1::Summary wire;
  ToWire(summary, &wire);
  return wire.SerializeAsString();
}

// Every field with its longest encoding.
TEST(WireWrite, TheWidestSummary) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    const OwnedProblem problem = MakeIndex(dtype, {1, 2}, {1, 2}, {0});
    Summary summary = RunBatch(problem)->summary;
    const SummaryFrame frame = FrameOf(summary);
    uint64_t most = ~uint64_t{0};
    const size_t width = dtype == DType::kFloat32 ? ExactSum<float>::kMostUnitBytes
                                                  : ExactSum<double>::kMostUnitBytes;
    for (AnyExactSum* sum : {&summary.loss_sum, &summary.normalizer}) {
      const ExactSumValue value = {std::string(width, '\x81'), most, most - 1, most - 2};
      *sum = *AnyExactSumFromValue(dtype, value);
      most -= 3;
    }
    for (uint64_t* count :
         {&summary.positions, &summary.ignored, &summary.correct, &summary.correct_top_k}) {
      *count = most--;
    }
    std::string written;
    AppendSummary(v1::EvaluateResponse::kSummaryFieldNumber, frame, summary, &written);
    v1::EvaluateResponse expected;
    ToWire(summary, expected.mutable_summary());
    EXPECT_EQ(written, expected.SerializeAsString());
  }
}

// Any bytes that ReadSummary accepts, Protobuf reads to the same summary.
TEST(WireRead, SummariesAsProtobufReads) {
  int read = 0;
  for (uint64_t seed = 0; seed < kProblems; ++seed) {
    std::mt19937_64 random(seed);
    const OwnedProblem problem = RandomProblem(&random);
    const Summary expected = RunBatch(problem)->summary;
    const Summary blank =
        Summarize(*problem.plan(), nullptr, RowTotals(problem.plan()->loss_dtype()));
    const SummaryFrame frame = FrameOf(blank);
    const std::string good = Encoded(expected);
    Summary summary = blank;
    ASSERT_TRUE(ReadSummary(good, frame, &summary));
    ASSERT_EQ(Encoded(summary), good);
    for (size_t i = 0; i < good.size(); ++i) {
      std::string changed = good;
      changed[i] = static_cast<char>(random());
      if (random() % 4 == 0) changed.resize(random() % changed.size());
      if (random() % 4 == 0) changed.insert(changed.size() / 2, good.substr(i, i % 40));
      summary = blank;
      if (!ReadSummary(changed, frame, &summary)) continue;
      ++read;
      v1::Summary wire;
      ASSERT_TRUE(wire.ParseFromString(changed)) << "seed " << seed << ", byte " << i;
      const auto parsed = DecodeSummary(wire, "summary");
      ASSERT_TRUE(parsed.ok()) << parsed.status();
      ASSERT_EQ(Encoded(summary), Encoded(*parsed)) << "seed " << seed << ", byte " << i;
    }
  }
  EXPECT_GT(read, kProblems);
}

// Protobuf would merge the two sums.
TEST(WireRead, NoSummaryWithASumTwice) {
  const OwnedProblem problem = MakeIndex(DType::kFloat32, {1, 2}, {NAN, 0}, {0});
  const Summary expected = RunBatch(problem)->summary;
  Summary summary = Summarize(*problem.plan(), nullptr, RowTotals(DType::kFloat32));
  const SummaryFrame frame = FrameOf(summary);
  std::string encoded = Encoded(expected);
  ASSERT_TRUE(ReadSummary(encoded, frame, &summary));
  AppendField(v1::Summary::kLossSumFieldNumber, "", &encoded);
  EXPECT_FALSE(ReadSummary(encoded, frame, &summary));
}

TEST(WireRead, FieldsInPlaceUpToWhatIsNone) {
  const auto numbers = [](const std::string& message, bool* done) {
    std::string found;
    FieldReader reader(message);
    while (reader.Next()) {
      if (reader.delimited()) {
        absl::StrAppend(&found, reader.number(), ":", reader.bytes(), " ");
      } else {
        absl::StrAppend(&found, reader.number(), "=", reader.value(), " ");
      }
    }
    *done = reader.done();
    return found;
  };
  bool done = false;
  EXPECT_EQ(numbers(std::string("\x08\x96\x01\x12\x02hi\xA2\x06\x00", 10), &done),
            "1=150 2:hi 100: ");
  EXPECT_TRUE(done);
  EXPECT_EQ(numbers("", &done), "");
  EXPECT_TRUE(done);
  const std::string bad[] = {
      std::string("\x12\x03hi"),                               // Longer than the message.
      std::string("\x08"),                                     // No value.
      std::string("\x08\x80"),                                 // A truncated varint.
      std::string("\x0D\x01\x01\x01\x01"),                     // 32 bits.
      std::string("\x0B"),                                     // A group.
      std::string("\x02\x00", 2),                              // Field 0.
      std::string("\x08") + std::string(10, '\x80') + '\x01',  // A varint of 11 bytes.
      std::string("\x88\x80\x80\x80\x80\x01\x00", 7),          // A tag beyond 32 bits.
  };
  for (const std::string& message : bad) {
    EXPECT_EQ(numbers(message, &done), "");
    EXPECT_FALSE(done) << message;
  }
}

}  // namespace
}  // namespace lossd::testing
