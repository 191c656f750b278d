#include <fastpool/client.h>

#include <new>
#include <utility>

#include <fastpool/origin.h>

#include "client/client_state.h"
#include "client/errors.h"
#include "client/lease_state.h"
#include "client/second_try.h"
#include "client/stream_state.h"
#include "pool/decisions.h"

namespace fastpool::inline v1 {

namespace {

pool::AcquireOptions acquire_options(const Call& call) {
  pool::AcquireOptions options;
  options.pool_timeout = call.timeouts.pool;
  options.connect_timeout = call.timeouts.connect;
  if (call.total) options.deadline = pool::later(Clock::now(), *call.total);
  if (call.stop.stop_possible()) {
    options.interrupt = {[](void* token) noexcept { return static_cast<std::stop_token*>(token)->stop_requested(); },
                         const_cast<std::stop_token*>(&call.stop)};  // NOLINT: it is only asked
  }
  return options;
}

Error as_cancelled(Error error, const Call& call) {
  if (error.code == ErrorCode::interrupted && call.stop.stop_requested()) error.code = ErrorCode::cancelled;
  return error;
}

}  // namespace

Client::Client(PoolSettings settings, Profile profile, Hooks hooks)
    : state_(std::make_shared<State>(settings, std::move(profile), std::move(hooks))) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&& other) noexcept {
  if (this != &other) {
    if (state_) close();
    state_ = std::move(other.state_);
  }
  return *this;
}
Client::~Client() {
  if (state_ && state_.use_count() > 1) close();  // streams or leases are left; else the core's end does it
}

Result<void> Client::send(const Request& request, Response& reuse, const Call& call) {
  return client::send_request(state_, request, reuse, call);
}

Result<Response> Client::send(const Request& request, const Call& call) {
  Response response;
  if (auto sent = client::send_request(state_, request, response, call); !sent) return std::move(sent).error();
  return response;
}

Result<Stream> Client::open(const Request& request, const Call& call) {
  return client::open_stream(state_, request, call);
}

Result<Lease> Client::lease(std::string_view url, const Call& call) {
  return client::with_second_try(true, [&]() -> Result<Lease> {
    try {
      client::Transfer transfer(state_, call);
      transfer.enable_lease();
      const Request request{.url = std::string(url)};
      if (auto prepared = transfer.prepare(request); !prepared) return std::move(prepared).error();
      transfer.begin_lease();
      if (auto got = transfer.run(); !got) return std::move(got).error();
      return transfer.take_lease();
    } catch (const std::bad_alloc&) {
      return client::no_memory();
    }
  });
}

Result<std::uint32_t> Client::warm(std::string_view url, std::uint32_t count, const Call& call) {
  try {
    auto origin = Origin::parse(url);
    if (!origin) return std::move(origin).error();
    auto endpoint = state_->endpoint(*origin, call.profile);
    if (!endpoint) return std::move(endpoint).error();
    auto warmed = state_->core.get().pool().warm(**endpoint, count, acquire_options(call));
    if (!warmed) return as_cancelled(std::move(warmed).error(), call);
    return warmed;
  } catch (const std::bad_alloc&) {
    return client::no_memory();
  }
}

Result<void> Client::set_max_leases(std::string_view url, std::optional<std::uint32_t> most,
                                    OptionalDuration valid_for) {
  return set_max_leases_until(url, most, pool::boot_time_after(valid_for));
}

Result<void> Client::set_max_leases_until(std::string_view url, std::optional<std::uint32_t> most, Duration until) {
  try {
    auto origin = Origin::parse(url);
    if (!origin) return std::move(origin).error();
    state_->core.get().origin_limits().allot(*origin, most, until);
    return {};
  } catch (const std::bad_alloc&) {
    return client::no_memory();
  }
}

Result<OriginUsage> Client::usage(std::string_view url) const {
  auto origin = Origin::parse(url);
  if (!origin) return std::move(origin).error();
  const pool::LeaseLimit::Usage usage = state_->core.get().origin_limits().usage(*origin);
  return OriginUsage{usage.leased, usage.waiting};
}

Result<bool> Client::drain(OptionalDuration timeout) {
  return state_->core.get().pool().drain(timeout, {});
}

ClientStats Client::stats() const {
  client::Core& core = state_->core.get();
  ClientStats stats;
  static_cast<PoolStats&>(stats) = core.pool().stats();
  stats.retries = core.retried();
  stats.retries_unread = core.retried_unread();
  const client::Core::Http2Counts http2 = core.http2_counts();
  stats.http2_connections = http2.connections;
  stats.open_streams = http2.open_streams;
  stats.streams = http2.streams;
  for (std::size_t code = 0; code < error_code_count; ++code)
    stats.errors[code] = core.error_count(static_cast<ErrorCode>(code));
  return stats;
}

void Client::close() {
  state_->core.get().close();
}

}  // namespace fastpool::inline v1
