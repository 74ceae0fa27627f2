#include "server/listen_address.h"

#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace lossd {
namespace {

constexpr char kUnixPrefix[] = "unix:";
constexpr size_t kMaxPath = sizeof(sockaddr_un::sun_path) - 1;

/// A socket that its destructor closes.
class Socket {
 public:
  explicit Socket(int family)
      : fd_(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  [[nodiscard]] int fd() const { return fd_; }

 private:
  const int fd_;
};

sockaddr_un UnixAddress(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), kMaxPath));
  return address;
}

const sockaddr* Generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);  // NOLINT(*-cast)
}

/// 0, or the errno that says why one cannot listen there.
int BindError(int family, const sockaddr* address, socklen_t size) {
  const Socket socket(family);
  if (socket.fd() < 0) return errno;
  // As gRPC does, so that a port counts as free while its last connections are still closing.
  const int on = 1;
  setsockopt(socket.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(socket.fd(), address, size) != 0 || listen(socket.fd(), 1) != 0) return errno;
  return 0;
}

absl::Status BadAddress(absl::string_view text, absl::string_view hint = "") {
  return absl::InvalidArgumentError(
      absl::StrCat("expected HOST:PORT or unix:PATH, got ",
                   text.empty() ? "nothing" : absl::StrCat("\"", text, "\""), hint));
}

}  // namespace

absl::StatusOr<ListenAddress> ParseListenAddress(absl::string_view text) {
  ListenAddress address;
  address.text = std::string(text);
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, kUnixPrefix)) {
    if (rest.empty() || rest.size() > kMaxPath || absl::StrContains(rest, '\0')) {
      return absl::InvalidArgumentError(absl::StrCat("expected unix:PATH with a path of 1 to ",
                                                     kMaxPath, " bytes, got \"", text, "\""));
    }
    address.path = std::string(rest);
    return address;
  }
  const size_t colon = rest.rfind(':');
  if (colon == absl::string_view::npos) return BadAddress(text);
  absl::string_view host = rest.substr(0, colon);
  const absl::string_view port = rest.substr(colon + 1);
  if (host.empty()) return BadAddress(text, ", without a host (0.0.0.0: all interfaces)");
  if (absl::ConsumePrefix(&host, "[")) {
    if (!absl::ConsumeSuffix(&host, "]") || host.empty()) return BadAddress(text);
  } else if (absl::StrContains(host, ':')) {
    return BadAddress(text, ", an IPv6 host goes in brackets");
  }
  const bool odd = std::any_of(host.begin(), host.end(), [](char c) {
    return c == '/' || c == '[' || c == ']' || absl::ascii_isspace(static_cast<unsigned char>(c)) ||
           absl::ascii_iscntrl(static_cast<unsigned char>(c));
  });
  if (odd) return BadAddress(text);
  uint32_t number = 0;
  const bool digits = std::all_of(port.begin(), port.end(), [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c));
  });
  if (!digits || !absl::SimpleAtoi(port, &number) || number > 65535) {
    return BadAddress(text, ", whose port is not a number from 0 to 65535");
  }
  address.host = std::string(host);
  address.port = static_cast<uint16_t>(number);
  return address;
}

std::string ForGrpc(const ListenAddress& address) {
  if (!address.is_unix()) return address.text;
  return absl::StrCat(kUnixPrefix, absl::StrReplaceAll(address.path, {{"%", "%25"}}));
}

std::string InForce(const ListenAddress& address, int port) {
  if (address.is_unix()) return address.text;
  return absl::StrCat(address.text.substr(0, address.text.rfind(':')), ":", port);
}

absl::Status CannotListen(const ListenAddress& address, absl::string_view cause) {
  return absl::UnavailableError(absl::StrCat("cannot listen on ", address.text, ": ", cause));
}

absl::Status CheckUnixPathIsFree(const ListenAddress& address) {
  struct stat file {};
  if (lstat(address.path.c_str(), &file) != 0) {
    return errno == ENOENT ? absl::OkStatus() : CannotListen(address, std::strerror(errno));
  }
  if (!S_ISSOCK(file.st_mode)) return CannotListen(address, "a file that is no socket is there");
  const Socket socket(AF_UNIX);
  if (socket.fd() < 0) return CannotListen(address, std::strerror(errno));
  const sockaddr_un there = UnixAddress(address.path);
  if (connect(socket.fd(), Generic(there), sizeof(there)) == 0) {
    return CannotListen(address, "another server answers there");
  }
  switch (errno) {
    case ENOENT:        // The socket file is gone meanwhile.
    case ECONNREFUSED:  // Its server is gone.
      return absl::OkStatus();
    case EAGAIN:
      return CannotListen(address, "another server listens there and does not answer");
    default:
      return CannotListen(address, std::strerror(errno));
  }
}

absl::Status WhyNoListening(const ListenAddress& address) {
  if (address.is_unix()) {
    const sockaddr_un wanted = UnixAddress(address.path);
    const int error = BindError(AF_UNIX, Generic(wanted), sizeof(wanted));
    if (error == 0) unlink(address.path.c_str());
    return CannotListen(address, error == 0 ? "gRPC could not" : std::strerror(error));
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int unknown =
      getaddrinfo(address.host.c_str(), absl::StrCat(address.port).c_str(), &hints, &found);
  if (unknown != 0) return CannotListen(address, gai_strerror(unknown));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, freeaddrinfo);
  int error = 0;
  for (const addrinfo* one = found; one != nullptr && error == 0; one = one->ai_next) {
    error = BindError(one->ai_family, one->ai_addr, one->ai_addrlen);
  }
  return CannotListen(address, error == 0 ? "gRPC could not" : std::strerror(error));
}

}  // namespace lossd
