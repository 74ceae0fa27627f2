#include "tests/support/service.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/codec/status_bridge.h"
#include "proto/codec/summary_codec.h"

namespace lossd::testing {
namespace {

void Append(const std::string& piece, Bytes* to) {
  const auto* begin = reinterpret_cast<const std::byte*>(piece.data());
  to->insert(to->end(), begin, begin + piece.size());
}

Bytes ToBytes(const v1::Tensor& tensor) {
  Bytes bytes;
  Append(tensor.raw(), &bytes);
  return bytes;
}

}  // namespace

TestServer::TestServer(ServerOptions options) {
  static std::atomic<int> count = 0;
  options.listen = {"127.0.0.1:0",
                    absl::StrCat("unix:/tmp/lossd-test-", getpid(), "-", count++, ".sock")};
  if (options.threads == 0) options.threads = 2;
  server_ = Server::Start(options).value();
  channel_ = grpc::CreateChannel(tcp(), grpc::InsecureChannelCredentials());
  stub_ = v1::LossService::NewStub(channel_);
}

TestServer::~TestServer() {
  const std::string path = unix_address().substr(5);
  server_.reset();
  unlink(path.c_str());
}

bool TestServer::MemoryIsBack() {
  for (int i = 0; i < 5000 && server_->memory_used() > 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return server_->memory_used() == 0;
}

void SetDeadline(grpc::ClientContext* context) {
  context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
}

Results FromResponse(const v1::EvaluateResponse& response) {
  return {ToBytes(response.loss()),        ToBytes(response.log_sum_exp()),
          ToBytes(response.grad_input()),  ToBytes(response.grad_target()),
          ToBytes(response.grad_weight()), ParseSummary(response.summary(), "summary").value()};
}

absl::StatusOr<Results> CallUnary(v1::LossService::Stub* stub, const OwnedProblem& problem) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::EvaluateResponse response;
  const grpc::Status status = stub->Evaluate(&context, MakeRequest(problem), &response);
  if (!status.ok()) return FromGrpc(status);
  return FromResponse(response);
}

std::vector<absl::StatusOr<Results>> CallMany(v1::LossService::Stub* stub,
                                              const std::vector<const OwnedProblem*>& problems) {
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = stub->EvaluateMany(&context);
  std::thread writer([&] {
    for (size_t i = 0; i < problems.size(); ++i) {
      v1::EvaluateManyRequest request;
      request.set_id(1000 + i);
      *request.mutable_request() = MakeRequest(*problems[i]);
      if (!stream->Write(request)) break;
    }
    stream->WritesDone();
  });
  std::map<uint64_t, absl::StatusOr<Results>> answers;
  v1::EvaluateManyResponse response;
  while (stream->Read(&response)) {
    if (response.has_error()) {
      answers[response.id()] = FromProto(response.error());
    } else {
      answers[response.id()] = FromResponse(response.response());
    }
  }
  writer.join();
  const absl::Status end = FromGrpc(stream->Finish());
  std::vector<absl::StatusOr<Results>> results;
  for (size_t i = 0; i < problems.size(); ++i) {
    const auto found = answers.find(1000 + i);
    results.push_back(found != answers.end()
                          ? std::move(found->second)
                          : absl::InternalError(
                                absl::StrCat("no answer; the stream ended with ", end.ToString())));
  }
  return results;
}

absl::StatusOr<Results> CallStream(v1::LossService::Stub* stub, const OwnedProblem& problem,
                                   size_t chunk, bool weight_follows) {
  grpc::ClientContext context;
  SetDeadline(&context);
  const auto stream = stub->EvaluateStream(&context);
  std::thread writer([&] {
    v1::EvaluateStreamRequest message;
    *message.mutable_header() = MakeHeader(problem);
    if (weight_follows) {
      message.mutable_header()
          ->mutable_criterion()
          ->mutable_cross_entropy()
          ->mutable_weight()
          ->clear_data();
    }
    bool open = stream->Write(message);
    const auto send = [&](const Bytes& bytes, auto&& field_of) {
      for (size_t at = 0; open && at < bytes.size(); at += chunk) {
        v1::EvaluateStreamRequest piece;
        const size_t count = std::min(chunk, bytes.size() - at);
        field_of(&piece)->assign(reinterpret_cast<const char*>(bytes.data() + at), count);
        open = stream->Write(piece);
      }
    };
    using Request = v1::EvaluateStreamRequest;
    if (weight_follows) {
      send(problem.weight->bytes, [](Request* piece) { return piece->mutable_weight(); });
    }
    send(problem.target.bytes, [](Request* piece) { return piece->mutable_target(); });
    if (problem.grad_output) {
      send(problem.grad_output->bytes, [](Request* piece) { return piece->mutable_grad_output(); });
    }
    send(problem.input.bytes, [](Request* piece) { return piece->mutable_input(); });
    stream->WritesDone();
  });
  Results results;
  v1::EvaluateStreamResponse reply;
  while (stream->Read(&reply)) {
    Append(reply.loss(), &results.loss);
    Append(reply.log_sum_exp(), &results.log_sum_exp);
    Append(reply.grad_input(), &results.grad_input);
    Append(reply.grad_target(), &results.grad_target);
    Append(reply.grad_weight(), &results.grad_weight);
    if (reply.has_summary()) results.summary = ParseSummary(reply.summary(), "summary").value();
  }
  writer.join();
  const grpc::Status status = stream->Finish();
  if (!status.ok()) return FromGrpc(status);
  return results;
}

}  // namespace lossd::testing
