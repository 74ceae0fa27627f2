#include "server/reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1alpha::ServerReflectionRequest;
using grpc::reflection::v1alpha::ServerReflectionResponse;

/// Bytes of a request, which its answer repeats. Names are shorter.
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

void Answer(const ServerReflectionRequest& request, const std::vector<std::string>& services,
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

/// Reads a request and writes its answer, in turn. Owns itself until the call is over.
class Reactor final
    : public grpc::ServerBidiReactor<ServerReflectionRequest, ServerReflectionResponse>,
      public std::enable_shared_from_this<Reactor> {
 public:
  Reactor(const std::vector<std::string>& services, grpc::CallbackServerContext* call,
          std::chrono::milliseconds patience)
      : services_(services), call_(call), patience_(patience) {}

  void Start(IdleWatch* watch) {
    self_ = shared_from_this();
    clock_ = watch->NewClock([weak = weak_from_this()] {
      if (const auto held = weak.lock()) held->OnIdle();
    });
    const std::lock_guard<std::mutex> lock(mutex_);
    clock_->Set(patience_);
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!ok) return End(grpc::Status::OK);
    if (request_.ByteSizeLong() > kMaxRequestBytes) {
      return End({grpc::INVALID_ARGUMENT,
                  absl::StrCat("expected a request of at most ", kMaxRequestBytes, " bytes")});
    }
    if (ended_) return;
    Answer(request_, services_, &response_);
    clock_->Set(patience_);
    writing_ = true;
    StartWrite(&response_);
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    writing_ = false;
    if (!ok || cancelled_) return End({grpc::CANCELLED, "the call was cancelled"});
    clock_->Set(patience_);
    StartRead(&request_);
  }

  void OnCancel() override {
    const std::lock_guard<std::mutex> lock(mutex_);
    cancelled_ = true;
    if (!writing_) End({grpc::CANCELLED, "the call was cancelled"});
  }

  void OnDone() override { self_.reset(); }

 private:
  void OnIdle() {
    const std::lock_guard<std::mutex> lock(mutex_);
    // A write that nobody reads would hold the end back; OnCancel follows.
    if (writing_) return call_->TryCancel();
    End({grpc::DEADLINE_EXCEEDED, "nothing was asked for too long"});
  }

  // With mutex_ held. A second Finish would end the process.
  void End(const grpc::Status& status) {
    if (std::exchange(ended_, true)) return;
    clock_->Stop();
    Finish(status);
  }

  const std::vector<std::string>& services_;
  grpc::CallbackServerContext* const call_;
  const std::chrono::milliseconds patience_;
  std::shared_ptr<Reactor> self_;
  std::shared_ptr<IdleWatch::Clock> clock_;

  std::mutex mutex_;
  ServerReflectionRequest request_;
  ServerReflectionResponse response_;
  bool writing_ = false;
  bool cancelled_ = false;
  bool ended_ = false;
};

}  // namespace

Reflection::Reflection(std::vector<std::string> services, IdleWatch* watch,
                       std::chrono::milliseconds patience)
    : services_(std::move(services)), watch_(watch), patience_(patience) {}

grpc::ServerBidiReactor<ServerReflectionRequest, ServerReflectionResponse>*
Reflection::ServerReflectionInfo(grpc::CallbackServerContext* call) {
  const auto reactor = std::make_shared<Reactor>(services_, call, patience_);
  reactor->Start(watch_);
  return reactor.get();
}

}  // namespace lossd
