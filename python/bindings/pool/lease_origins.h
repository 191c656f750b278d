#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "net/descriptor.h"
#include "pool/slot.h"

namespace fastpool::bindings {

/// Where in Python the open leases of one core were taken, as "file:line in function". Only for a pool that looks for
/// leaks. Any thread, with or without the GIL; holds nothing of Python's.
class LeaseOrigins {
 public:
  void note(pool::ConnectionId id, std::string place) {
    const std::lock_guard lock(mutex_);
    places_.insert_or_assign(id.value, std::move(place));
  }
  void forget(pool::ConnectionId id) noexcept {
    const std::lock_guard lock(mutex_);
    places_.erase(id.value);
  }
  /// Empty for a lease of which nothing was noted.
  [[nodiscard]] std::string of(pool::ConnectionId id) const {
    const std::lock_guard lock(mutex_);
    const auto found = places_.find(id.value);
    return found == places_.end() ? std::string() : found->second;
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::uint64_t, std::string> places_;  // guarded by mutex_
};

/// The nearest frame of the calling thread that is not of fast_litellm, httpx or httpcore; "" without one. With the GIL.
[[nodiscard]] std::string calling_place();

/// Where one exchange's lease was taken, for as long as it lasts: a retry gives it another lease. Made with the GIL; note()
/// and forget() need none.
class LeaseOrigin {
 public:
  /// \param origins null: nothing is noted.
  explicit LeaseOrigin(LeaseOrigins* origins) : origins_(origins), place_(origins == nullptr ? "" : calling_place()) {}
  LeaseOrigin(const LeaseOrigin&) = delete;
  LeaseOrigin& operator=(const LeaseOrigin&) = delete;
  ~LeaseOrigin() { forget(); }

  void note(std::optional<pool::ConnectionId> id) {
    if (origins_ == nullptr || (id && noted_ && id->value == noted_->value)) return;
    forget();
    if (id) origins_->note(*id, place_);
    noted_ = id;
  }
  void forget() noexcept {
    // In the child of a fork they are the parent's, and may be locked for ever.
    if (noted_ && epoch_ == net::fork_epoch()) origins_->forget(*noted_);
    noted_.reset();
  }

 private:
  LeaseOrigins* const origins_;
  const unsigned epoch_ = net::fork_epoch();
  const std::string place_;
  std::optional<pool::ConnectionId> noted_;
};

}  // namespace fastpool::bindings
