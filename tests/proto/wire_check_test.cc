// Checks of encoded requests against their descriptors: they find every unknown field, and nothing
// that Protobuf would not find.
#include "proto/codec/wire_check.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "core/problem/error.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/summary_codec.h"
#include "tests/support/problem.h"
#include "tests/support/wire.h"

namespace lossd::testing {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

/// Checks `bytes` from buffers of `block` bytes.
absl::StatusOr<uint64_t> Check(const std::string& bytes, const Message& kind, int block) {
  google::protobuf::io::ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()),
                                                block);
  return CheckWire(&stream, *kind.GetDescriptor(), "");
}

/// One message of every type that is evaluated or combined. Every submessage is set, except the
/// typed values of a tensor, where any one type serves.
std::vector<std::unique_ptr<Message>> Kinds() {
  OwnedProblem problem = MakeIndex(DType::kFloat32, {2, 3}, {1, 2, 3, 4, 5, 6}, {0, 2});
  problem.outputs.grad_input = true;
  problem.weight = MakeTensor(DType::kFloat32, {3}, {1, 2, 3});
  problem.grad_output = MakeTensor(DType::kFloat32, {}, {1});
  std::vector<std::unique_ptr<Message>> kinds;
  auto request = std::make_unique<v1::EvaluateRequest>(MakeRequest(problem));
  v1::Tensor* const typed = request->mutable_input();
  for (const double value : {1, 2, 3, 4, 5, 6}) {
    typed->mutable_double_values()->add_values(value);
  }
  request->mutable_target()->mutable_uint64_values()->add_values(0);
  request->mutable_target()->mutable_uint64_values()->add_values(300);
  request->mutable_grad_output()->mutable_float_values()->add_values(1);
  auto many = std::make_unique<v1::EvaluateManyRequest>();
  many->set_id(7);
  *many->mutable_request() = *request;
  auto header = std::make_unique<v1::EvaluateStreamHeader>(MakeHeader(problem));
  auto combine = std::make_unique<v1::CombineRequest>();
  for (int i = 0; i < 3; ++i) ToWire(RunBatch(problem)->summary, combine->add_summaries());
  kinds.push_back(std::move(request));
  kinds.push_back(std::move(many));
  kinds.push_back(std::move(header));
  kinds.push_back(std::move(combine));
  return kinds;
}

/// Collects `message` and every message within it, by path.
void AllWithin(Message* message, const std::string& path, std::map<std::string, Message*>* all) {
  (*all)[path] = message;
  std::vector<const FieldDescriptor*> fields;
  const auto* reflection = message->GetReflection();
  reflection->ListFields(*message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->message_type() == nullptr) continue;
    const std::string below = absl::StrCat(path, path.empty() ? "" : ".", field->name());
    if (!field->is_repeated()) {
      AllWithin(reflection->MutableMessage(message, field), below, all);
      continue;
    }
    for (int i = 0; i < reflection->FieldSize(*message, field); ++i) {
      AllWithin(reflection->MutableRepeatedMessage(message, field, i),
                absl::StrCat(below, "[", i, "]"), all);
    }
  }
}

void AddUnknown(Message* message, int number, int wire_type) {
  auto* unknown = message->GetReflection()->MutableUnknownFields(message);
  switch (wire_type) {
    case 0:
      unknown->AddVarint(number, 1);
      break;
    case 1:
      unknown->AddFixed64(number, 1);
      break;
    case 2:
      unknown->AddLengthDelimited(number, "later");
      break;
    case 3:
      unknown->AddGroup(number)->AddGroup(number)->AddVarint(1, 1);
      break;
    default:
      unknown->AddFixed32(number, 1);
  }
}

TEST(WireCheck, UnknownFieldsAreFoundAtEveryLevel) {
  size_t messages = 0;
  for (const auto& kind : Kinds()) {
    const std::string good = kind->SerializeAsString();
    ASSERT_TRUE(Check(good, *kind, 7).ok()) << Check(good, *kind, 7).status();
    std::map<std::string, Message*> all;
    AllWithin(kind.get(), "", &all);
    messages += all.size();
    for (const auto& [path, message] : all) {
      for (const int wire_type : {0, 1, 2, 3, 5}) {
        for (const int number : {13, 77, 19000, 536870911}) {
          if (message->GetDescriptor()->FindFieldByNumber(number) != nullptr) continue;
          AddUnknown(message, number, wire_type);
          for (const int block : {1, 1000}) {
            const absl::Status status = Check(kind->SerializeAsString(), *kind, block).status();
            EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
            const ErrorDetail detail = GetErrorDetail(status);
            EXPECT_EQ(detail.reason, "FIELD_UNKNOWN") << path << " " << wire_type;
            EXPECT_EQ(detail.field, path) << wire_type;
            EXPECT_EQ(detail.metadata,
                      (ErrorMetadata{{"message", message->GetDescriptor()->full_name()},
                                     {"number", absl::StrCat(number)}}));
          }
          message->GetReflection()->MutableUnknownFields(message)->Clear();
        }
      }
    }
  }
  EXPECT_GT(messages, 40U);
}

TEST(WireCheck, KnownFieldsOfAnotherWireTypeAreMalformed) {
  for (const auto& kind : Kinds()) {
    std::map<std::string, Message*> all;
    AllWithin(kind.get(), "", &all);
    for (const auto& [path, message] : all) {
      const auto* descriptor = message->GetDescriptor();
      for (int i = 0; i < descriptor->field_count(); ++i) {
        const FieldDescriptor* const field = descriptor->field(i);
        for (const int wire_type : {0, 1, 2, 3, 5}) {
          AddUnknown(message, field->number(), wire_type);
          const std::string bytes = kind->SerializeAsString();
          message->GetReflection()->MutableUnknownFields(message)->Clear();
          // Protobuf keeps a field of another wire type as an unknown field.
          std::unique_ptr<Message> parsed(kind->New());
          const bool good = parsed->ParseFromString(bytes);
          std::map<std::string, Message*> after;
          AllWithin(parsed.get(), "", &after);
          bool unknown = false;
          for (const auto& [_, within] : after) {
            unknown = unknown || !within->GetReflection()->GetUnknownFields(*within).empty();
          }
          const absl::Status status = Check(bytes, *kind, 1000).status();
          EXPECT_EQ(status.ok(), good && !unknown) << path << " " << field->name() << wire_type;
          if (!status.ok()) {
            EXPECT_EQ(GetErrorDetail(status).reason, "MALFORMED_MESSAGE") << status;
          }
        }
      }
    }
  }
}

/// The bytes that the elements of all repeated numbers of a message take.
uint64_t NumberBytes(Message* message) {
  std::map<std::string, Message*> all;
  AllWithin(message, "", &all);
  uint64_t bytes = 0;
  for (const auto& [path, within] : all) {
    std::vector<const FieldDescriptor*> fields;
    within->GetReflection()->ListFields(*within, &fields);
    for (const FieldDescriptor* field : fields) {
      if (!field->is_repeated() || field->message_type() != nullptr) continue;
      const bool single = field->cpp_type() == FieldDescriptor::CPPTYPE_FLOAT;
      bytes += static_cast<uint64_t>(within->GetReflection()->FieldSize(*within, field)) *
               (single ? 4 : 8);
    }
  }
  return bytes;
}

TEST(WireCheck, CountsWhatNumbersTakeOnceParsed) {
  for (const auto& kind : Kinds()) {
    const auto bytes = Check(kind->SerializeAsString(), *kind, 3);
    ASSERT_TRUE(bytes.ok());
    EXPECT_EQ(*bytes, NumberBytes(kind.get()));
  }
  // A packed number takes one byte of the message and eight in memory. A number by itself takes two
  // bytes of the message.
  v1::EvaluateRequest request;
  for (int i = 0; i < 1000; ++i) request.mutable_input()->mutable_int64_values()->add_values(1);
  EXPECT_EQ(*Check(request.SerializeAsString(), request, 1000), 8000U);
  std::string one_by_one;
  for (int i = 0; i < 100; ++i) one_by_one += "\x10\x01";
  v1::TensorSpec spec;
  ASSERT_TRUE(spec.ParseFromString(one_by_one));
  EXPECT_EQ(*Check(one_by_one, spec, 1000), 800U);
}

// In any bytes that pass the check, Protobuf finds nothing unknown, and no more numbers than the
// check counted.
TEST(WireCheck, AgreesWithProtobufOnMutations) {
  std::mt19937_64 random(5);
  size_t good = 0;
  size_t refused = 0;
  for (const auto& kind : Kinds()) {
    const std::string whole = kind->SerializeAsString();
    for (int i = 0; i < 20'000; ++i) {
      std::string bytes = whole;
      for (uint64_t changes = 1 + random() % 3; changes > 0; --changes) {
        bytes[random() % bytes.size()] = static_cast<char>(random());
      }
      if (random() % 4 == 0) bytes.resize(1 + random() % bytes.size());
      if (random() % 4 == 0) {
        bytes.insert(random() % bytes.size(), whole.substr(random() % whole.size(), 9));
      }
      std::unique_ptr<Message> parsed(kind->New());
      const bool parses = parsed->ParseFromString(bytes);
      std::map<std::string, Message*> all;
      AllWithin(parsed.get(), "", &all);
      bool unknown = false;
      for (const auto& [path, within] : all) {
        unknown = unknown || !within->GetReflection()->GetUnknownFields(*within).empty();
      }
      const auto checked = Check(bytes, *kind, 1 + static_cast<int>(random() % 100));
      if (parses && !unknown) {
        ASSERT_TRUE(checked.ok()) << checked.status();
        // If a oneof is set twice, the first member is counted but then lost.
        ASSERT_GE(*checked, NumberBytes(parsed.get()));
        ++good;
      } else if (parses) {
        ASSERT_FALSE(checked.ok());
        ++refused;
      }
    }
  }
  EXPECT_GT(good, 1000U);
  EXPECT_GT(refused, 1000U);
}

TEST(WireCheck, LengthsBeyondTheMessageAround) {
  const v1::CombineRequest kind;
  // A summary of two bytes whose criterion states a length of 0, 1 or 5 bytes. Bytes after the
  // summary must not be taken for the criterion's.
  for (const auto& [length, good] :
       {std::pair('\x00', true), std::pair('\x01', false), std::pair('\x05', false)}) {
    for (const std::string& after :
         {std::string(), std::string("\x0a\x06\x18\x01\x18\x01\x18\x01")}) {
      const std::string bytes = std::string("\x0a\x02\x0a", 3) + length + after;
      for (const int block : {1, 1000}) {
        const absl::Status status = Check(bytes, kind, block).status();
        EXPECT_EQ(status.ok(), good) << status;
        if (good) continue;
        EXPECT_EQ(GetErrorDetail(status).reason, "MALFORMED_MESSAGE");
        EXPECT_EQ(GetErrorDetail(status).field, "summaries[0]");
      }
    }
  }
}

TEST(WireCheck, FindsTheLastVarintOfAField) {
  const auto find = [](const std::string& bytes) {
    google::protobuf::io::ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()), 2);
    return FindVarint(&stream, v1::EvaluateManyRequest::kIdFieldNumber);
  };
  v1::EvaluateManyRequest many;
  EXPECT_EQ(find(many.SerializeAsString()), 0U);
  many.set_id(~uint64_t{0});
  many.mutable_request()->mutable_criterion();
  AddUnknown(&many, 77, 3);
  const std::string first = many.SerializeAsString();
  EXPECT_EQ(find(first), ~uint64_t{0});
  many.set_id(5);
  EXPECT_EQ(find(first + many.SerializeAsString()), 5U);
  EXPECT_EQ(find(first + "\x0a"), 0U);
}

}  // namespace
}  // namespace lossd::testing
