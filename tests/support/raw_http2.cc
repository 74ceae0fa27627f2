#include "tests/support/raw_http2.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace lossd::testing {
namespace {

using Clock = std::chrono::steady_clock;

enum Frame : uint8_t {
  kData = 0,
  kHeaders = 1,
  kReset = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kWindowUpdate = 8,
};
constexpr uint8_t kEndStream = 1;
constexpr uint8_t kAck = 1;
constexpr uint8_t kEndHeaders = 4;
constexpr size_t kFrameBytes = 16384;
constexpr std::chrono::milliseconds kPatience{5000};

std::string BigEndian(uint64_t value, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(value >> (8 * i)));
  return out;
}

uint32_t ReadBigEndian(const std::string& from, size_t at, size_t bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value = (value << 8U) | static_cast<uint8_t>(from[at + i]);
  return value;
}

/// A header that the peer does not put into its compression table.
std::string Literal(const std::string& name, const std::string& value) {
  return absl::StrCat(std::string(1, '\0'), std::string(1, static_cast<char>(name.size())), name,
                      std::string(1, static_cast<char>(value.size())), value);
}

/// Reads exactly `bytes` bytes; false if the connection has ended.
bool ReadAll(int fd, size_t bytes, std::string* to) {
  to->resize(bytes);
  for (size_t at = 0; at < bytes;) {
    const ssize_t count = recv(fd, to->data() + at, bytes - at, 0);
    if (count <= 0) return false;
    at += static_cast<size_t>(count);
  }
  return true;
}

}  // namespace

std::string Framed(const std::string& message) {
  return absl::StrCat(std::string(1, '\0'), BigEndian(message.size(), 4), message);
}

RawConnection::RawConnection(const std::string& address, uint32_t window) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  uint32_t port = 0;
  EXPECT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port)) << address;
  to.sin_port = htons(static_cast<uint16_t>(port));
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0)  // NOLINT(*-cast)
      << std::strerror(errno);
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  EXPECT_EQ(send(fd_, preface.data(), preface.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(preface.size()));
  constexpr int kInitialWindowSize = 4;
  SendFrame(kSettings, 0, 0, absl::StrCat(BigEndian(kInitialWindowSize, 2), BigEndian(window, 4)));
  while (!settings_came_ && Take(kPatience)) {
  }
  EXPECT_TRUE(settings_came_);
}

RawConnection::~RawConnection() { Cut(); }

void RawConnection::Cut() {
  if (fd_ < 0) return;
  const linger at_once{1, 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  close(fd_);
  fd_ = -1;
}

void RawConnection::CutBehindBytes() {
  std::string frames;
  for (int i = 0; i < 4000; ++i) {
    frames += absl::StrCat(BigEndian(4, 3), BigEndian(kWindowUpdate, 1), BigEndian(0, 5),
                           BigEndian(1, 4));
  }
  // In parts, so that gRPC handles the first frames while the last ones arrive.
  for (size_t at = 0; at < frames.size(); at += frames.size() / 4) {
    send(fd_, frames.data() + at, frames.size() / 4, MSG_NOSIGNAL);
  }
  Cut();
}

void RawConnection::SendFrame(uint8_t type, uint8_t flags, uint32_t stream,
                              absl::string_view payload) {
  const std::string frame = absl::StrCat(BigEndian(payload.size(), 3), BigEndian(type, 1),
                                         BigEndian(flags, 1), BigEndian(stream, 4), payload);
  for (size_t at = 0; at < frame.size();) {
    const ssize_t count = send(fd_, frame.data() + at, frame.size() - at, MSG_NOSIGNAL);
    if (count <= 0) return;
    at += static_cast<size_t>(count);
  }
}

uint32_t RawConnection::Begin(const std::string& method, const std::string& timeout) {
  const uint32_t stream = next_stream_;
  next_stream_ += 2;
  streams_[stream].window = initial_window_;
  std::string headers = Literal(":method", "POST") + Literal(":scheme", "http") +
                        Literal(":path", absl::StrCat("/lossd.v1.LossService/", method)) +
                        Literal(":authority", "localhost") + Literal("te", "trailers") +
                        Literal("content-type", "application/grpc");
  if (!timeout.empty()) headers += Literal("grpc-timeout", timeout);
  SendFrame(kHeaders, kEndHeaders, stream, headers);
  return stream;
}

bool RawConnection::Send(uint32_t stream, absl::string_view bytes, bool last) {
  const auto end = Clock::now() + kPatience;
  do {
    const int64_t room = std::min(window_, streams_[stream].window);
    const size_t count =
        std::min({bytes.size(), kFrameBytes, static_cast<size_t>(std::max<int64_t>(0, room))});
    if (count == 0 && !bytes.empty()) {
      if (streams_[stream].ended || Clock::now() > end) return false;
      Take(std::chrono::milliseconds(100));
      continue;
    }
    const bool whole = count == bytes.size();
    SendFrame(kData, whole && last ? kEndStream : 0, stream, bytes.substr(0, count));
    window_ -= static_cast<int64_t>(count);
    streams_[stream].window -= static_cast<int64_t>(count);
    bytes.remove_prefix(count);
  } while (!bytes.empty());
  return true;
}

void RawConnection::Reset(uint32_t stream) {
  constexpr int kCancel = 8;
  SendFrame(kReset, 0, stream, BigEndian(kCancel, 4));
}

void RawConnection::OpenWindows(uint32_t stream) {
  constexpr uint32_t kMost = (1U << 30U);
  SendFrame(kWindowUpdate, 0, 0, BigEndian(kMost, 4));
  SendFrame(kWindowUpdate, 0, stream, BigEndian(kMost, 4));
}

bool RawConnection::AwaitEnd(uint32_t stream, std::chrono::milliseconds patience) {
  const auto end = Clock::now() + patience;
  while (!streams_[stream].ended && Clock::now() < end) Take(std::chrono::milliseconds(20));
  return streams_[stream].ended;
}

bool RawConnection::Take(std::chrono::milliseconds patience) {
  pollfd readable{fd_, POLLIN, 0};
  if (poll(&readable, 1, static_cast<int>(patience.count())) <= 0) return false;
  std::string head;
  std::string payload;
  constexpr size_t kHeadBytes = 9;
  if (!ReadAll(fd_, kHeadBytes, &head) || !ReadAll(fd_, ReadBigEndian(head, 0, 3), &payload)) {
    for (auto& [number, stream] : streams_) stream.ended = true;
    return false;
  }
  Handle(static_cast<uint8_t>(head[3]), static_cast<uint8_t>(head[4]), ReadBigEndian(head, 5, 4),
         payload);
  return true;
}

void RawConnection::Handle(uint8_t type, uint8_t flags, uint32_t stream,
                           const std::string& payload) {
  switch (type) {
    case kData:
    case kHeaders:
      if ((flags & kEndStream) == 0) return;
      streams_[stream].ended = true;
      streams_[stream].trailers = payload;
      return;
    case kReset:
      streams_[stream].ended = true;
      return;
    case kSettings:
      if ((flags & kAck) != 0) return;
      TakeSettings(payload);
      return SendFrame(kSettings, kAck, 0, "");
    case kPing:
      if ((flags & kAck) == 0) SendFrame(kPing, kAck, 0, payload);
      return;
    case kWindowUpdate: {
      int64_t& window = stream == 0 ? window_ : streams_[stream].window;
      window += ReadBigEndian(payload, 0, 4);
      return;
    }
    default:
      return;
  }
}

void RawConnection::TakeSettings(const std::string& payload) {
  settings_came_ = true;
  constexpr size_t kEach = 6;
  constexpr uint32_t kInitialWindowSize = 4;
  for (size_t at = 0; at + kEach <= payload.size(); at += kEach) {
    if (ReadBigEndian(payload, at, 2) != kInitialWindowSize) continue;
    const int64_t window = ReadBigEndian(payload, at + 2, 4);
    for (auto& [number, stream] : streams_) stream.window += window - initial_window_;
    initial_window_ = window;
  }
}

}  // namespace lossd::testing
