#include <fastpool/lease.h>

#include <utility>

#include "client/lease_state.h"
#include "client/stream_state.h"
#include "connection/connection.h"
#include "net/descriptor.h"

namespace fastpool::inline v1 {

Lease::State::~State() {
  // In the child of a fork the connection is the parent's.
  if (epoch == net::fork_epoch()) {
    client->core.get().pool().release(lease, reuse);
  } else {
    place.detach();
  }
}

Lease::Lease(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Lease::Lease(Lease&&) noexcept = default;
Lease& Lease::operator=(Lease&&) noexcept = default;
Lease::~Lease() = default;

namespace {

bool lives(const Lease::State* state) noexcept {
  return state != nullptr && state->epoch == net::fork_epoch();
}

connection::Connection* connection_of(const Lease::State& state) noexcept {
  pool::Slot* const slot = state.lease.slot;
  return slot->connected() ? static_cast<connection::Connection*>(slot->pooled.get()) : nullptr;
}

}  // namespace

Result<void> Lease::send(const Request& request, Response& reuse, const Call& call) {
  auto lease = client::leased(*this);
  if (!lease) return std::move(lease).error();
  return client::send_request(state_->client, request, reuse, call, *lease);
}

Result<Response> Lease::send(const Request& request, const Call& call) {
  Response response;
  if (auto sent = send(request, response, call); !sent) return std::move(sent).error();
  return response;
}

Result<Stream> Lease::open(const Request& request, const Call& call) {
  auto lease = client::leased(*this);
  if (!lease) return std::move(lease).error();
  return client::open_stream(state_->client, request, call, *lease);
}

bool Lease::alive() const noexcept {
  if (!lives(state_.get())) return false;
  pool::Pool& pool = state_->client->core.get().pool();
  if (!pool.begin_stream(state_->lease)) return true;  // one is open: it will see
  connection::Connection* const connection = connection_of(*state_);
  const bool alive = connection != nullptr && connection->check_alive();
  pool.end_stream(state_->lease, pool::Reuse::unused());
  return alive;
}

int Lease::native_handle() const noexcept {
  if (!lives(state_.get())) return -1;
  const connection::Connection* const connection = connection_of(*state_);
  return connection != nullptr ? const_cast<connection::Connection*>(connection)->channel().descriptor() : -1;
}

void Lease::discard() noexcept {
  if (state_) state_->reuse = pool::Reuse::no();
  state_.reset();
}

}  // namespace fastpool::inline v1

namespace fastpool::client {

Result<pool::LeaseRef> leased(const Lease& lease) {
  if (lives(lease.state())) return lease.state()->lease;
  return Error::make(ErrorCode::stale_lease, Phase::acquire,
                     "this lease was discarded, or belongs to the process that forked this one");
}

}  // namespace fastpool::client
