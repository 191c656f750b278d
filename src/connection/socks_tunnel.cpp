#include <array>
#include <cstring>

#include "connection/tunnel.h"

namespace fastpool::connection {

namespace {

constexpr char version = 5;
constexpr char password_version = 1;  // of the sub-negotiation (RFC 1929)
constexpr char no_authentication = 0;
constexpr char by_password = 2;
constexpr char connect_command = 1;
enum AddressType : char { ipv4 = 1, domain = 3, ipv6 = 4 };

std::string_view method_name(unsigned char method) noexcept {
  switch (method) {
    case 0:
      return "NO AUTHENTICATION REQUIRED";
    case 1:
      return "GSSAPI";
    case 2:
      return "USERNAME/PASSWORD";
    case 0xff:
      return "NO ACCEPTABLE METHODS";
    default:
      return "UNKNOWN";
  }
}

std::string_view reply_name(unsigned char reply) noexcept {
  constexpr std::array<std::string_view, 9> names = {"Succeeded",
                                                     "General SOCKS server failure",
                                                     "Connection not allowed by ruleset",
                                                     "Network unreachable",
                                                     "Host unreachable",
                                                     "Connection refused",
                                                     "TTL expired",
                                                     "Command not supported",
                                                     "Address type not supported"};
  return reply < names.size() ? names[reply] : "UNKNOWN";
}

/// Whether a reply is about the address alone: network or host unreachable, connection refused, address type not supported.
bool is_of_address(unsigned char reply) noexcept {
  return (reply >= 3 && reply <= 5) || reply == 8;
}

// The negotiation: method -> [password] -> connect -> open.
class SocksTunnel final : public TunnelProtocol {
 public:
  SocksTunnel(const ProxyRoute& route, const Origin& origin, const std::optional<net::SocketAddress>& address)
      : username_(route.username),
        password_(route.password),
        method_(username_.empty() && password_.empty() ? no_authentication : by_password) {
    command_ = {version, connect_command, 0};
    append_address(origin.host, address);
    command_.push_back(static_cast<char>(origin.port >> 8U));
    command_.push_back(static_cast<char>(origin.port & 0xffU));
  }

  [[nodiscard]] std::string begin() override { return {version, 1, method_}; }

  [[nodiscard]] Step take(std::string_view received) override {
    switch (stage_) {
      case Stage::method:
        return take_method(received);
      case Stage::password:
        return take_verdict(received);
      case Stage::reply:
        break;
    }
    return take_reply(received);
  }

 private:
  enum class Stage : std::uint8_t { method, password, reply };

  void append_address(const std::string& host, const std::optional<net::SocketAddress>& address) {
    const auto numeric = address ? address : net::SocketAddress::from_ip(host, 0);
    if (!numeric) {
      command_.push_back(domain);
      command_.push_back(
          static_cast<char>(host.size()));  // Origin's host is a name of at most 253 bytes, or too long below
      command_.append(host, 0, 255);
      too_long_ = host.size() > 255;
    } else if (numeric->family() == AF_INET) {
      command_.push_back(ipv4);
      const auto& bytes = reinterpret_cast<const sockaddr_in*>(numeric->data())->sin_addr;
      command_.append(reinterpret_cast<const char*>(&bytes), sizeof bytes);
    } else {
      command_.push_back(ipv6);
      const auto& bytes = reinterpret_cast<const sockaddr_in6*>(numeric->data())->sin6_addr;
      command_.append(reinterpret_cast<const char*>(&bytes), sizeof bytes);
    }
  }

  [[nodiscard]] static Step refused(ErrorCode code, std::string detail) {
    Step step;
    step.kind = Step::Kind::refused;
    step.error = Error::make(code, Phase::connect, std::move(detail));
    return step;
  }
  [[nodiscard]] static Step no_socks() {
    return refused(ErrorCode::remote_protocol, "the proxy's answer is not of SOCKS version 5");
  }
  [[nodiscard]] Step send(std::size_t consumed, std::string bytes, Stage next) {
    stage_ = next;
    Step step;
    step.kind = Step::Kind::send;
    step.consumed = consumed;
    step.bytes = std::move(bytes);
    return step;
  }

  [[nodiscard]] Step ask(std::size_t consumed) {
    if (too_long_) return refused(ErrorCode::proxy_failed, "SOCKS takes host names of at most 255 bytes");
    return send(consumed, std::move(command_), Stage::reply);
  }

  [[nodiscard]] Step take_method(std::string_view received) {
    if (received.empty()) return {};
    if (received[0] != version) return no_socks();
    if (received.size() < 2) return {};
    if (received[1] != method_) {
      return refused(ErrorCode::proxy_failed,
                     "Requested " + std::string(method_name(static_cast<unsigned char>(method_))) +
                         " from proxy server, but got " +
                         std::string(method_name(static_cast<unsigned char>(received[1]))) + ".");
    }
    if (method_ == no_authentication) return ask(2);
    std::string credentials{password_version, static_cast<char>(username_.size())};
    credentials += username_;
    credentials.push_back(static_cast<char>(password_.size()));
    credentials += password_;
    return send(2, std::move(credentials), Stage::password);
  }

  [[nodiscard]] Step take_verdict(std::string_view received) {
    if (received.size() < 2) return {};
    if (received[0] != password_version) return no_socks();
    if (received[1] != 0) return refused(ErrorCode::proxy_failed, "Invalid username/password");
    return ask(2);
  }

  [[nodiscard]] static Step take_reply(std::string_view received) {
    if (received.empty()) return {};
    if (received[0] != version) return no_socks();
    if (received.size() < 2) return {};
    if (received[1] != 0) {
      const auto reply = static_cast<unsigned char>(received[1]);
      Step step =
          refused(ErrorCode::proxy_failed, "Proxy Server could not connect: " + std::string(reply_name(reply)) + ".");
      step.of_address = is_of_address(reply);
      return step;
    }
    if (received.size() < 5) return {};
    // The address that the proxy bound; nothing here needs it.
    std::size_t size = 0;
    switch (received[3]) {
      case ipv4:
        size = 4;
        break;
      case ipv6:
        size = 16;
        break;
      case domain:
        size = 1 + static_cast<std::size_t>(static_cast<unsigned char>(received[4]));
        break;
      default:
        return no_socks();
    }
    size += 4 + 2;
    if (received.size() < size) return {};
    Step step;
    step.kind = Step::Kind::open;
    step.consumed = size;
    return step;
  }

  const std::string username_;
  const std::string password_;
  const char method_;
  std::string command_;
  bool too_long_ = false;
  Stage stage_ = Stage::method;
};

}  // namespace

std::unique_ptr<TunnelProtocol> socks_tunnel(const ProxyRoute& route, const Origin& origin,
                                             const std::optional<net::SocketAddress>& address) {
  return std::make_unique<SocksTunnel>(route, origin, address);
}

}  // namespace fastpool::connection
