// Addresses to listen on: how they are written, and why one cannot be had.
#ifndef LOSSD_SERVER_LISTEN_ADDRESS_H_
#define LOSSD_SERVER_LISTEN_ADDRESS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace lossd {

/// HOST:PORT, with the host of IPv6 in brackets, or unix:PATH.
struct ListenAddress {
  std::string text;  ///< As it was written.
  std::string path;  ///< Of a Unix socket; empty for TCP.
  std::string host;  ///< Without brackets.
  uint16_t port = 0;

  [[nodiscard]] bool is_unix() const { return !path.empty(); }
};

/// INVALID_ARGUMENT, which says what was expected.
absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text);

/// The address as gRPC reads it, which decodes percent signs.
std::string ForGrpc(const ListenAddress& address);
/// The address in force, where gRPC has chosen `port`.
std::string InForce(const ListenAddress& address, int port);

/// UNAVAILABLE where something is at the path of a Unix socket that must stay: a server that lives,
/// however busy, or a file that is no socket. Never waits for the one who listens there. OK for
/// nothing, and for the socket of a server that is gone.
absl::Status CheckUnixPathIsFree(const ListenAddress& address);

/// Why gRPC could not listen there: tries it again by itself. UNAVAILABLE, whatever it finds.
absl::Status WhyNoListening(const ListenAddress& address);

/// UNAVAILABLE: "cannot listen on ADDRESS: CAUSE".
absl::Status CannotListen(const ListenAddress& address, absl::string_view cause);

}  // namespace lossd

#endif  // LOSSD_SERVER_LISTEN_ADDRESS_H_
