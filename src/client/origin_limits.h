#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include <fastpool/origin.h>
#include <fastpool/timeouts.h>

#include "client/origin_hash.h"
#include "pool/lease_limit.h"
#include "sync/atomics.h"

namespace fastpool::client {

/// The limits on the requests and leases to single origins (Client::set_max_leases()): one for each origin that was ever
/// limited, over all its profiles, endpoints and protocols. A request without one costs a load.
///
/// Any thread may call anything. find() takes no lock: a change publishes a new table, and the old ones stay, since a thread
/// may be reading them. There are as many as origins were limited.
class OriginLimits {
 public:
  class Remembered;

  OriginLimits() = default;
  OriginLimits(const OriginLimits&) = delete;
  OriginLimits& operator=(const OriginLimits&) = delete;

  /// The limit of that origin, which lives as long as this object; null: it has none.
  [[nodiscard]] pool::LeaseLimit* find(const Origin& origin) const noexcept {
    const Table* const table = table_.get();
    if (table == nullptr) [[likely]]
      return nullptr;
    const auto found = table->find(origin);
    return found == table->end() ? nullptr : found->second;
  }
  /// The same, remembered from call to call.
  [[nodiscard]] pool::LeaseLimit* find(const Origin& origin, Remembered& last) const noexcept;
  /// Sets the limit of that origin; absent: none. \param until a pool::time_since_boot(), from which it is 0 until the next call.
  void allot(const Origin& origin, std::optional<std::uint32_t> most, Duration until);
  [[nodiscard]] pool::LeaseLimit::Usage usage(const Origin& origin) const noexcept;
  /// Limits to 0 what the parent of a fork limits, whose locks are left alone: its allotments are not the child's.
  void begin_child_of(const OriginLimits& parents);

 private:
  /// The limit of that origin, made with 0 places if it has none.
  [[nodiscard]] pool::LeaseLimit& of(const Origin& origin);

  using Table = std::unordered_map<Origin, pool::LeaseLimit*, OriginHash>;

  sync::Published<const Table> table_;  // the last of tables_, or null

  // Guarded by mutex_.
  std::mutex mutex_;
  std::deque<pool::LeaseLimit> limits_;
  std::vector<std::unique_ptr<const Table>> tables_;
};

/// What find() said of one origin last. A limit stays for good once there is one, and that there is none holds until the next
/// table. Any thread may use it.
class OriginLimits::Remembered {
 public:
  /// For another origin; no other thread uses it meanwhile.
  void forget() noexcept {
    limit_.set(nullptr);
    none_in_.set(nullptr);
  }

 private:
  friend class OriginLimits;
  sync::Published<pool::LeaseLimit> limit_;
  sync::Published<const Table> none_in_;
};

inline pool::LeaseLimit* OriginLimits::find(const Origin& origin, Remembered& last) const noexcept {
  if (pool::LeaseLimit* const known = last.limit_.get()) return known;
  const Table* const table = table_.get();
  if (table == last.none_in_.get()) [[likely]]
    return nullptr;
  pool::LeaseLimit* const found = find(origin);
  if (found != nullptr) {
    last.limit_.set(found);
  } else {
    last.none_in_.set(table);
  }
  return found;
}

}  // namespace fastpool::client
