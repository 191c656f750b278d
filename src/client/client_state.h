#pragma once

#include <memory>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

#include <fastpool/client.h>

#include "client/core_holder.h"
#include "client/handle.h"
#include "net/descriptor.h"
#include "sync/epoch_pointer.h"

namespace fastpool::inline v1 {

/// What a client, its streams and its leases share: the core, and a handle for each profile. Any thread may call any method.
struct Client::State {
  State(const PoolSettings& settings, Profile profile, Hooks hooks);
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State();

  /// The endpoint of that origin under `profile` (null: the client's own). Errors: invalid_argument.
  [[nodiscard]] Result<client::EndpointUse> endpoint(const Origin& origin, const Profile* profile);
  /// An error of a request under way, as the caller is to see it: close() breaks connections, which is no failure of the
  /// server's.
  [[nodiscard]] Error explained(Error error);

  client::CoreHolder core;

 private:
  /// The handles of one process.
  struct Handles {
    std::unique_ptr<client::Handle> own;  ///< of the client's profile
    std::mutex mutex;
    /// Of other profiles; guarded by `mutex`.
    std::vector<std::pair<std::shared_ptr<const client::InternedProfile>, std::unique_ptr<client::Handle>>> others;
  };
  [[nodiscard]] std::unique_ptr<Handles> make_handles();
  [[nodiscard]] std::unique_ptr<client::Handle> make_handle(std::shared_ptr<const client::InternedProfile> profile);
  [[nodiscard]] client::Handle& handle_of(const Profile* profile);

  const Profile profile_;
  sync::EpochPointer<Handles> handles_;
};

}  // namespace fastpool::inline v1
