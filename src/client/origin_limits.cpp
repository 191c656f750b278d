#include "client/origin_limits.h"

namespace fastpool::client {

pool::LeaseLimit& OriginLimits::of(const Origin& origin) {
  const std::lock_guard lock(mutex_);
  if (pool::LeaseLimit* const known = find(origin)) return *known;
  auto table = tables_.empty() ? std::make_unique<Table>() : std::make_unique<Table>(*tables_.back());
  table->emplace(origin, nullptr);
  tables_.reserve(tables_.size() + 1);
  pool::LeaseLimit& limit = limits_.emplace_back(0U, "the limit on leases of this origin is in use");
  table->at(origin) = &limit;
  table_.set(table.get());
  tables_.push_back(std::move(table));
  return limit;
}

void OriginLimits::allot(const Origin& origin, std::optional<std::uint32_t> most, Duration until) {
  of(origin).allot(most.value_or(sync::LimitWord::most_places), until);
}

pool::LeaseLimit::Usage OriginLimits::usage(const Origin& origin) const noexcept {
  const pool::LeaseLimit* const limit = find(origin);
  return limit == nullptr ? pool::LeaseLimit::Usage{} : limit->usage();
}

void OriginLimits::begin_child_of(const OriginLimits& parents) {
  const Table* const table = parents.table_.get();
  if (table == nullptr) return;
  for (const auto& [origin, limit] : *table) {
    if (!limit->lifted()) (void)of(origin);
  }
}

}  // namespace fastpool::client
