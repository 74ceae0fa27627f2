#include "server/reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "core/problem/error.h"
#include "grpc/reflection/v1alpha/reflection.pb.h"
#include "server/call_reactor.h"
#include "server/message_io.h"
#include "server/rpc/call.h"
#include "server/rpc/call_queue.h"

namespace lossd {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;

/// Maximum bytes of a request, which its reply repeats. Names are shorter.
constexpr size_t kMaxRequestBytes = 4096;

void AddFile(const FileDescriptor& file, std::set<const FileDescriptor*>* seen,
             ServerReflectionResponse* response) {
  if (!seen->insert(&file).second) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  proto.SerializeToString(
      response->mutable_file_descriptor_response()->add_file_descriptor_proto());
  for (int i = 0; i < file.dependency_count(); ++i) AddFile(*file.dependency(i), seen, response);
}

void SetError(grpc::StatusCode code, const std::string& message,
              ServerReflectionResponse* response) {
  response->mutable_error_response()->set_error_code(code);
  response->mutable_error_response()->set_error_message(message);
}

void SetFile(const FileDescriptor* file, const std::string& wanted,
             ServerReflectionResponse* response) {
  std::set<const FileDescriptor*> seen;
  if (file != nullptr) return AddFile(*file, &seen, response);
  SetError(grpc::NOT_FOUND, absl::StrCat("there is no ", wanted), response);
}

const FileDescriptor* FileOfExtension(const std::string& type, int number) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const auto* const message = pool.FindMessageTypeByName(type);
  const auto* const extension =
      message == nullptr ? nullptr : pool.FindExtensionByNumber(message, number);
  return extension == nullptr ? nullptr : extension->file();
}

void SetExtensionNumbers(const std::string& type, ServerReflectionResponse* response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const auto* const message = pool.FindMessageTypeByName(type);
  if (message == nullptr) {
    return SetError(grpc::NOT_FOUND, absl::StrCat("there is no message ", type), response);
  }
  auto* const numbers = response->mutable_all_extension_numbers_response();
  numbers->set_base_type_name(type);
  std::vector<const google::protobuf::FieldDescriptor*> extensions;
  pool.FindAllExtensions(message, &extensions);
  for (const auto* extension : extensions) numbers->add_extension_number(extension->number());
}

void SetAnswer(const ServerReflectionRequest& request, const std::vector<std::string>& services,
               ServerReflectionResponse* response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  response->Clear();
  response->set_valid_host(request.host());
  *response->mutable_original_request() = request;
  switch (request.message_request_case()) {
    case ServerReflectionRequest::kFileByFilename:
      return SetFile(pool.FindFileByName(request.file_by_filename()),
                     absl::StrCat("file ", request.file_by_filename()), response);
    case ServerReflectionRequest::kFileContainingSymbol:
      return SetFile(pool.FindFileContainingSymbol(request.file_containing_symbol()),
                     absl::StrCat("symbol ", request.file_containing_symbol()), response);
    case ServerReflectionRequest::kFileContainingExtension: {
      const auto& asked = request.file_containing_extension();
      return SetFile(
          FileOfExtension(asked.containing_type(), asked.extension_number()),
          absl::StrCat("extension ", asked.extension_number(), " of ", asked.containing_type()),
          response);
    }
    case ServerReflectionRequest::kAllExtensionNumbersOfType:
      return SetExtensionNumbers(request.all_extension_numbers_of_type(), response);
    case ServerReflectionRequest::kListServices:
      for (const std::string& name : services) {
        response->mutable_list_services_response()->add_service()->set_name(name);
      }
      return;
    default:
      SetError(grpc::INVALID_ARGUMENT, "message_request: expected one of its fields", response);
  }
}

/// Reads a request and writes its answer, in turn.
class ReflectionReactor final : public CallReactor {
 public:
  ReflectionReactor(const EvaluationContext& context, const std::vector<std::string>& services,
                    Call* call)
      : CallReactor(context, call), services_(services) {}

 private:
  void Received(std::unique_lock<std::mutex>* /*lock*/) override {
    if (incoming()->Length() > kMaxRequestBytes) {
      return EndEarly(absl::InvalidArgumentError(
          absl::StrCat("expected a request of at most ", kMaxRequestBytes, " bytes")));
    }
    ServerReflectionRequest request;
    if (auto parsed = ReadMessage(*incoming(), &request); !parsed.ok()) {
      return EndEarly(std::move(parsed));
    }
    ServerReflectionResponse response;
    SetAnswer(request, services_, &response);
    const grpc::Slice slice = SerializeMessage(response);
    Write(grpc::ByteBuffer(&slice, 1));
  }

  void HalfClosed() override { half_closed_ = true; }

  void Advance() override {
    if (writing() || reading()) return;
    if (half_closed_) return End(absl::OkStatus());
    Read();
  }

  void Stop() override {}
  void Release() override {}

  [[nodiscard]] absl::Status FirstMissing() const override {
    return FieldError(absl::StatusCode::kDeadlineExceeded, "", "HEADER_WAIT",
                      "expected a request message");
  }

  const std::vector<std::string>& services_;
  bool half_closed_ = false;
};

}  // namespace

Reflection::Reflection(const EvaluationContext& context, std::vector<std::string> services)
    : context_(context), services_(std::move(services)) {
  context_.calls = nullptr;
}

void Reflection::AddTo(CallQueue* queue) {
  // The messages of v1 are those of v1alpha.
  for (const char* version : {"v1alpha", "v1"}) {
    queue->Add(absl::StrCat("/grpc.reflection.", version, ".ServerReflection/ServerReflectionInfo"),
               [this](Call* call) {
                 return std::make_shared<ReflectionReactor>(context_, services_, call);
               });
  }
}

}  // namespace lossd
