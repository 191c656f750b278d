#include <fastpool/client.h>

#include <new>
#include <optional>
#include <stdexcept>

#include <fastpool/origin.h>

#include "client/core_holder.h"
#include "client/exchange.h"
#include "client/expected_size.h"
#include "client/handle.h"
#include "client/headers.h"
#include "net/descriptor.h"
#include "sync/epoch_pointer.h"

namespace fastpool::inline v1 {

struct FASTPOOL_LOCAL Client::State {
  State(const PoolSettings& settings, Profile p)
      : core(settings), profile(std::move(p)), handle_(net::fork_epoch(), make_handle()) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (handle_.epoch() != net::fork_epoch()) handle_.abandon();
  }

  [[nodiscard]] Result<client::EndpointUse> endpoint(std::string_view url) {
    auto origin = Origin::parse(url);
    if (!origin) return std::move(origin).error();
    return handle_.get(net::fork_epoch(), [this] { return make_handle(); }).use(*origin);
  }

  [[nodiscard]] Result<Response> send(std::optional<client::Exchange>& exchange, const Request& request,
                                      const RequestOptions& options);

  client::CoreHolder core;
  const Profile profile;

 private:
  /// close() breaks the connections of requests under way: that is no failure of the server's.
  [[nodiscard]] Error failed(Error error) {
    const bool broke = error.code == ErrorCode::read_failed || error.code == ErrorCode::write_failed;
    if (broke && core.get().pool().closed()) error.code = ErrorCode::pool_closed;
    return error;
  }
  [[nodiscard]] std::unique_ptr<client::Handle> make_handle() {
    client::Core& now = core.get();
    return std::make_unique<client::Handle>(now, now.intern(profile), pool::AfterUse::keep,
                                            client::Handle::Isolation::by_pool);
  }

  sync::EpochPointer<client::Handle> handle_;
};

namespace {

// Beyond this a body grows as it comes: a length is a promise.
constexpr std::size_t most_reserved = std::size_t{64} << 20U;

Error out_of_memory(std::uint64_t bytes_sent) noexcept {
  Error error;  // words may need memory too
  error.code = ErrorCode::out_of_memory;
  error.bytes_sent = bytes_sent;
  return error;
}

// "/path?query" of a URL; "/" where there is none. A fragment never goes out (RFC 9110 section 4.2.3).
std::string target_of(std::string_view url) {
  url = url.substr(0, url.find('#'));
  const std::size_t authority = url.find("://");
  const std::size_t path = authority == std::string_view::npos ? authority : url.find_first_of("/?", authority + 3);
  if (path == std::string_view::npos) return "/";
  std::string target(url.substr(path));
  if (target.front() == '?') target.insert(target.begin(), '/');
  return target;
}

}  // namespace

Client::Client(PoolSettings settings, Profile profile)
    : state_(std::make_unique<State>(settings, std::move(profile))) {}
Client::~Client() = default;

Result<Response> Client::send(const Request& request, const RequestOptions& options) {
  std::optional<client::Exchange> exchange;  // to say, after an exception, what was sent
  try {
    auto response = state_->send(exchange, request, options);
    // Other code closed the library's descriptors, and nothing was sent: the second try opens new ones.
    if (!response && response.error().code == ErrorCode::forked && response.error().bytes_sent == 0) [[unlikely]] {
      exchange.reset();
      response = state_->send(exchange, request, options);
    }
    return response;
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {  // beyond what a string can hold
  }
  return out_of_memory(exchange ? exchange->bytes_sent() : 0);
}

Result<Response> Client::State::send(std::optional<client::Exchange>& exchange, const Request& request,
                                     const RequestOptions& options) {
  auto endpoint = this->endpoint(request.url);
  if (!endpoint) return std::move(endpoint).error();
  const std::string target = target_of(request.url);
  std::vector<Header> headers;
  headers.reserve(request.headers.size());
  for (const auto& [name, value] : request.headers)
    headers.push_back({name, value});
  client::CompletedHeaders completed((*endpoint)->name(), request.method, std::move(headers), request.body.size());

  const client::CallOptions call{options.timeouts, options.interrupt, 0};
  auto opened =
      client::Exchange::open(core.get(), std::move(endpoint).value(), {request.method, target, completed.headers()});
  if (!opened) return std::move(opened).error();
  exchange.emplace(std::move(opened).value());
  if (auto obtained = exchange->obtain(call); !obtained) return failed(std::move(obtained).error());
  if (auto sent = exchange->send(request.body, call); !sent) return failed(std::move(sent).error());

  Response response;
  std::vector<std::string_view> pieces;
  for (;;) {
    auto more = exchange->read(pieces, call);
    if (!more) return failed(std::move(more).error());
    if (!*more) break;
    if (response.body.empty() && !exchange->body_arrived())
      response.body.reserve(client::expected_size(exchange->head(), most_reserved));
    for (const std::string_view piece : pieces)
      response.body.append(piece);
  }
  response.status = exchange->head().status;
  response.reason = std::move(exchange->head().reason);
  response.headers = std::move(exchange->head().headers);
  return response;
}

Result<std::uint32_t> Client::warm(std::string_view url, std::uint32_t count, const RequestOptions& options) {
  try {
    auto endpoint = state_->endpoint(url);
    if (!endpoint) return std::move(endpoint).error();
    return state_->core.get().pool().warm(**endpoint, count,
                                          {options.timeouts.pool, options.timeouts.connect, true, options.interrupt});
  } catch (const std::bad_alloc&) {
    return out_of_memory(0);
  }
}

PoolStats Client::stats() const {
  return state_->core.get().pool().stats();
}
void Client::close() {
  state_->core.get().close();
}

}  // namespace fastpool::inline v1
