// HTTP/2 by hand, to do things that gRPC's own client never does: send half a message, keep a
// window shut, cut a connection.
#ifndef LOSSD_TESTS_SUPPORT_RAW_HTTP2_H_
#define LOSSD_TESTS_SUPPORT_RAW_HTTP2_H_

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/string_view.h"

namespace lossd::testing {

/// One connection, for use by one thread. Holds no more than one frame.
class RawConnection {
 public:
  /// `window` is the number of bytes of each answer that the server may send before OpenWindows.
  RawConnection(const std::string& address, uint32_t window);
  /// Cuts the connection without notice.
  ~RawConnection();
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  /// Sends the headers of a call to LossService's `method`. Returns the stream's number. `timeout`
  /// is the value of gRPC's header, for example "200m".
  uint32_t Begin(const std::string& method, const std::string& timeout = "");
  /// Sends bytes of messages (see Framed) and waits up to five seconds for the server's windows.
  /// Returns false if the stream has ended or the windows stay shut.
  bool Send(uint32_t stream, absl::string_view bytes, bool last);
  void Reset(uint32_t stream);
  void OpenWindows(uint32_t stream);
  /// Waits up to `patience`. Returns whether the server has ended the stream, by trailers or a
  /// reset, or the whole connection.
  bool AwaitEnd(uint32_t stream, std::chrono::milliseconds patience);
  /// The encoded headers that ended the stream. gRPC compresses no strings, so a status and its
  /// message are readable in them.
  [[nodiscard]] const std::string& trailers(uint32_t stream) { return streams_[stream].trailers; }
  void Cut();
  /// Sends many frames that need no answer, and cuts the connection right after them.
  void CutBehindBytes();

 private:
  struct Stream {
    int64_t window = 0;
    bool ended = false;
    std::string trailers;
  };
  void SendFrame(uint8_t type, uint8_t flags, uint32_t stream, absl::string_view payload);
  /// Reads and handles one frame; false if none comes within `patience`.
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

/// Returns `message` with gRPC's framing.
std::string Framed(const std::string& message);

}  // namespace lossd::testing

#endif  // LOSSD_TESTS_SUPPORT_RAW_HTTP2_H_
