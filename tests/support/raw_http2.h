// HTTP/2 by hand, for what gRPC's own client never does: half a message, a window that stays shut,
// a connection that is cut.
#ifndef LOSSD_TESTS_SUPPORT_RAW_HTTP2_H_
#define LOSSD_TESTS_SUPPORT_RAW_HTTP2_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/string_view.h"

namespace lossd::testing {

/// One connection, for one thread. It holds no more than one frame.
class RawConnection {
 public:
  /// `window`: bytes of each answer that the server may send until OpenWindows.
  RawConnection(const std::string& address, uint32_t window);
  /// Cuts the connection without a word.
  ~RawConnection();
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  /// Headers of a call to LossService's `method`; the stream's number. `timeout` as in gRPC's
  /// header: "200m".
  uint32_t Begin(const std::string& method, const std::string& timeout = "");
  /// Sends bytes of messages, see Framed; waits for the server's windows up to five seconds. False
  /// where the stream has ended or the windows stay shut.
  bool Send(uint32_t stream, absl::string_view bytes, bool last);
  void Reset(uint32_t stream);
  void OpenWindows(uint32_t stream);
  /// Whether the server ended the stream, by trailers or a reset, or the connection with it.
  bool AwaitEnd(uint32_t stream, std::chrono::milliseconds patience);
  /// The bytes of the headers that ended the stream: gRPC compresses no strings, so that a status
  /// and its message can be seen in them.
  [[nodiscard]] const std::string& trailers(uint32_t stream) { return streams_[stream].trailers; }
  void Cut();
  /// Cuts the connection right behind much that asks for no answer.
  void CutBehindBytes();

 private:
  struct Stream {
    int64_t window = 0;
    bool ended = false;
    std::string trailers;
  };
  void SendFrame(uint8_t type, uint8_t flags, uint32_t stream, absl::string_view payload);
  /// Takes a frame, if one comes within `patience`.
  bool Take(std::chrono::milliseconds patience);
  void Handle(uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload);
  void TakeSettings(const std::string& payload);

  int fd_ = -1;
  uint32_t next_stream_ = 1;
  int64_t initial_window_ = 65535;
  int64_t window_ = 65535;
  bool settings_came_ = false;
  std::map<uint32_t, Stream> streams_;
};

/// A message as gRPC frames it.
std::string Framed(const std::string& message);

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SUPPORT_RAW_HTTP2_H_
