#include <algorithm>
#include <utility>
#include <vector>

#include "connection/tunnel.h"
#include "h1/request_encoder.h"
#include "h1/response_parser.h"

namespace fastpool::connection {

namespace {

constexpr std::size_t most_head_bytes = 64UL * 1024;
constexpr std::size_t most_kept_bytes = 4096;

class HttpTunnel final : public TunnelProtocol {
 public:
  HttpTunnel(const ProxyRoute& route, const Origin& origin, std::shared_ptr<h1::ResponseHead> answer)
      : answer_(std::move(answer)) {
    const bool ipv6 = origin.host.find(':') != std::string::npos;
    // Authority-form (RFC 9112 section 3.2.3): the port always, brackets around IPv6.
    const std::string authority = (ipv6 ? "[" + origin.host + "]" : origin.host) + ":" + std::to_string(origin.port);
    std::vector<Header> own;
    for (const Header& header : {Header{"Host", authority}, Header{"Accept", "*/*"}}) {
      const bool replaced = std::any_of(route.headers.begin(), route.headers.end(), [&](const auto& each) {
        return equals_ignoring_case(each.first, header.name);
      });
      if (!replaced) own.push_back(header);
    }
    for (const auto& [name, value] : route.headers)
      own.push_back({name, value});
    (void)h1::encode_head(head_, "CONNECT", authority, own);  // the route's headers are known to be sound
    parser_.start(true);                                      // no body, whatever a 2xx promises
  }

  [[nodiscard]] std::string begin() override { return std::move(head_); }

  [[nodiscard]] Step take(std::string_view received) override {
    Step step;
    while (step.kind == Step::Kind::more) {
      const auto parsed = parser_.parse(received.substr(step.consumed));
      step.consumed += parsed.consumed;
      total_ += parsed.consumed;
      switch (parsed.event) {
        case h1::ResponseParser::Event::need_more:
          if (total_ + received.size() - step.consumed > most_head_bytes) return too_long();
          return step;
        case h1::ResponseParser::Event::head:
          if (total_ > most_head_bytes) return too_long();
          if (const int status = parser_.head().status; status < 200 || status > 299) return refused();
          break;
        case h1::ResponseParser::Event::end:
          step.kind = Step::Kind::open;
          keep_answer();
          break;
        case h1::ResponseParser::Event::error:
          return failed(ErrorCode::remote_protocol, "the proxy's answer is no HTTP: " + parser_.error_detail());
        case h1::ResponseParser::Event::interim:
        case h1::ResponseParser::Event::body:
          break;
      }
    }
    return step;
  }

 private:
  [[nodiscard]] static Step failed(ErrorCode code, std::string detail) {
    Step step;
    step.kind = Step::Kind::refused;
    step.error = Error::make(code, Phase::connect, std::move(detail));
    return step;
  }
  [[nodiscard]] static Step too_long() {
    return failed(ErrorCode::remote_protocol, "the head of the proxy's answer is longer than 64 KiB");
  }
  [[nodiscard]] Step refused() const {
    std::string reason(parser_.head().reason);
    std::erase_if(reason, [](char byte) { return static_cast<unsigned char>(byte) > 0x7e; });
    return failed(ErrorCode::proxy_failed, std::to_string(parser_.head().status) + " " + reason);
  }

  void keep_answer() {
    if (total_ <= most_kept_bytes) {
      *answer_ = parser_.head();
      return;
    }
    answer_->version_minor = parser_.head().version_minor;
    answer_->status = parser_.head().status;
  }

  const std::shared_ptr<h1::ResponseHead> answer_;
  std::string head_;
  h1::ResponseParser parser_;
  std::size_t total_ = 0;  // consumed
};

}  // namespace

std::unique_ptr<TunnelProtocol> http_tunnel(const ProxyRoute& route, const Origin& origin,
                                            std::shared_ptr<h1::ResponseHead> answer) {
  return std::make_unique<HttpTunnel>(route, origin, std::move(answer));
}

}  // namespace fastpool::connection
