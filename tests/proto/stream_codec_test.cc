// Messages of EvaluateStream, read in place.
#include "proto/codec/stream_codec.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <gtest/gtest.h>

#include <string>

#include "core/problem/error.h"
#include "lossd/v1/service.pb.h"
#include "proto/codec/wire_write.h"

namespace lossd {
namespace {

using Request = v1::EvaluateStreamRequest;

/// Reads from buffers of `block` bytes.
absl::Status Read(const std::string& bytes, int block, WireFields* fields,
                  WireFields::Unknown unknown = WireFields::Unknown::kRefuse) {
  google::protobuf::io::ArrayInputStream stream(bytes.data(), static_cast<int>(bytes.size()),
                                                block);
  return WireFields::Read(&stream, *Request::descriptor(), unknown, fields);
}

Request Sample() {
  Request request;
  request.mutable_header()->mutable_outputs()->set_loss(true);
  request.mutable_header()->mutable_input()->add_shape(12);
  request.set_target(std::string(300, 't'));
  request.set_input("input bytes, cut anywhere");
  return request;
}

TEST(WireFields, GivesWhatProtobufGives) {
  const Request request = Sample();
  const std::string bytes = request.SerializeAsString();
  for (const int block : {1, 2, 7, 64, 1000}) {
    WireFields fields;
    ASSERT_TRUE(Read(bytes, block, &fields).ok());
    EXPECT_EQ(fields.Joined(Request::kTargetFieldNumber), request.target());
    EXPECT_EQ(fields.Joined(Request::kInputFieldNumber), request.input());
    EXPECT_EQ(fields.Joined(Request::kHeaderFieldNumber), request.header().SerializeAsString());
    EXPECT_EQ(fields.size(Request::kTargetFieldNumber), 300U);
    EXPECT_FALSE(fields.has(Request::kGradOutputFieldNumber));
    EXPECT_TRUE(fields.has(Request::kHeaderFieldNumber));
  }
}

TEST(WireFields, PiecesLieInTheCallersBuffers) {
  const std::string bytes = Sample().SerializeAsString();
  WireFields fields;
  ASSERT_TRUE(Read(bytes, 1 << 20, &fields).ok());
  for (const auto& piece : fields.pieces(Request::kInputFieldNumber)) {
    const auto* data = reinterpret_cast<const char*>(piece.data());
    EXPECT_TRUE(data >= bytes.data() && data + piece.size() <= bytes.data() + bytes.size());
  }
}

TEST(WireFields, RepeatsCountAsInProtobuf) {
  Request first = Sample();
  Request second;
  second.set_input("later");
  second.mutable_header()->mutable_target()->add_shape(5);
  const std::string bytes = first.SerializeAsString() + second.SerializeAsString();
  Request merged;
  ASSERT_TRUE(merged.ParseFromString(bytes));
  WireFields fields;
  ASSERT_TRUE(Read(bytes, 16, &fields).ok());
  EXPECT_EQ(fields.Joined(Request::kInputFieldNumber), merged.input());
  v1::EvaluateStreamHeader header;
  ASSERT_TRUE(header.ParseFromString(fields.Joined(Request::kHeaderFieldNumber)));
  EXPECT_EQ(header.SerializeAsString(), merged.header().SerializeAsString());
}

TEST(WireFields, UnknownFieldsAreRefusedOrSkipped) {
  using Unknown = WireFields::Unknown;
  // Field 9 as a varint, field 200 as bytes, field 14 as a group of one number.
  for (const std::string& unknown : {std::string("\x48\x05"),
                                     std::string("\xc2\x0c\x03"
                                                 "abc"),
                                     std::string("\x73\x08\x01\x74")}) {
    const std::string sample = Sample().SerializeAsString();
    for (const std::string& bytes : {unknown + sample, sample + unknown}) {
      WireFields skipped;
      ASSERT_TRUE(Read(bytes, 5, &skipped, Unknown::kSkip).ok());
      EXPECT_EQ(skipped.Joined(Request::kInputFieldNumber), Sample().input());
      WireFields refused;
      EXPECT_EQ(GetErrorDetail(Read(bytes, 5, &refused)).reason, "FIELD_UNKNOWN");
    }
  }
  // A 32-bit number in the place of the input is not an input.
  const std::string number = Sample().SerializeAsString() + std::string("\x7d\x01\x02\x03\x04");
  WireFields skipped;
  ASSERT_TRUE(Read(number, 5, &skipped, Unknown::kSkip).ok());
  EXPECT_EQ(skipped.Joined(Request::kInputFieldNumber), Sample().input());
  WireFields refused;
  EXPECT_EQ(GetErrorDetail(Read(number, 5, &refused)).reason, "MALFORMED_MESSAGE");
}

// A truncated message is refused; if it is cut between two fields, it is a message of fewer fields.
// Protobuf's own parser agrees.
TEST(WireFields, CutMessages) {
  const std::string bytes = Sample().SerializeAsString();
  for (size_t size = 0; size < bytes.size(); ++size) {
    WireFields fields;
    const absl::Status status = Read(bytes.substr(0, size), 16, &fields);
    Request parsed;
    EXPECT_EQ(status.ok(), parsed.ParseFromString(bytes.substr(0, size))) << size;
    if (!status.ok()) {
      EXPECT_EQ(GetErrorDetail(status).reason, "MALFORMED_MESSAGE");
    }
  }
}

TEST(WireFields, PrefixIsWhatProtobufWrites) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{127}, size_t{128}, size_t{1} << 20U}) {
    Request request;
    request.set_input(std::string(size, 'x'));
    if (size == 0) continue;  // Protobuf does not write an empty field.
    EXPECT_EQ(FieldPrefix(Request::kInputFieldNumber, size) + request.input(),
              request.SerializeAsString());
  }
}

}  // namespace
}  // namespace lossd
