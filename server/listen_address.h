// Addresses to listen on: their syntax, and the reasons why one is not available.
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

/// INVALID_ARGUMENT, whose message says what was expected.
absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text);

/// The address in gRPC's syntax; gRPC decodes percent signs.
std::string ForGrpc(const ListenAddress& address);
/// The address in force, with the `port` that gRPC has chosen.
std::string InForce(const ListenAddress& address, int port);

/// UNAVAILABLE if the path of a Unix socket must not be replaced, because a server is alive there,
/// however busy, or the file is no socket. OK if nothing is there, or the socket of a server that
/// is gone. Never waits for the server there.
absl::Status CheckUnixPathIsFree(const ListenAddress& address);

/// Finds out why gRPC could not listen there, by trying again without gRPC. Always UNAVAILABLE.
absl::Status WhyNoListening(const ListenAddress& address);

/// UNAVAILABLE: "cannot listen on ADDRESS: CAUSE".
absl::Status CannotListen(const ListenAddress& address, absl::string_view cause);

}  // namespace lossd

#endif  // LOSSD_SERVER_LISTEN_ADDRESS_H_
