#include "client/unread_watch.h"

#include "net/tcp_state.h"

namespace fastpool::client {

Unread UnreadWatch::look() noexcept {
  // The state first: what arrived before the end of the connection is then there to be read.
  const auto state = net::tcp_state(descriptor_);
  if (!state) return Unread::unproved;
  if (!seen_.fin) {
    const net::StreamEnd end = net::skip_to_end(descriptor_);
    if (end == net::StreamEnd::broken) return Unread::unproved;
    seen_.fin = end == net::StreamEnd::fin;
  }
  seen_.bytes_acknowledged = state->bytes_acknowledged;
  if (state->closed && !seen_.closed) {
    seen_.closed = true;
    seen_.closed_by = net::take_error(descriptor_);
  }
  seen_.waited = Clock::now() - began_;
  seen_.patience = unread_patience(state->round_trip, read_timeout_);
  return judge(seen_);
}

}  // namespace fastpool::client
