#pragma once

#include <memory>

#include <fastpool/lease.h>

#include "client/client_state.h"
#include "pool/lease.h"
#include "pool/lease_limit.h"

namespace fastpool::inline v1 {

/// A lease of the pool's, which ends with it.
struct Lease::State {
  State(std::shared_ptr<Client::State> given, pool::LeaseRef ref, pool::LeaseLimit::Place under,
        unsigned in_epoch) noexcept
      : client(std::move(given)), lease(ref), epoch(in_epoch), place(std::move(under)) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State();

  const std::shared_ptr<Client::State> client;
  const pool::LeaseRef lease;
  const unsigned epoch;  ///< net::fork_epoch() when it began
  pool::Reuse reuse = pool::Reuse::unused();
  pool::LeaseLimit::Place place;  ///< under the limit of its origin, if that has one
};

}  // namespace fastpool::inline v1

namespace fastpool::client {

/// The pool's lease. Errors: stale_lease if it was discarded, or is that of a fork's parent.
[[nodiscard]] Result<pool::LeaseRef> leased(const Lease& lease);

}  // namespace fastpool::client
