#pragma once

#include <utility>

#include "pool/endpoint.h"

namespace fastpool::pool {

class Pool;

/// The right to use an endpoint. Of one that is kept it is a plain pointer; a passing one lives at least as long as its
/// holds. Move-only. Must not outlive the pool. Not thread-safe.
class EndpointHold {
 public:
  EndpointHold() = default;
  explicit EndpointHold(Endpoint& kept) noexcept : endpoint_(&kept) {}
  /// Adopts a use that was counted.
  EndpointHold(Pool& pool, Endpoint& passing) noexcept : pool_(&pool), endpoint_(&passing) {}
  EndpointHold(EndpointHold&& other) noexcept
      : pool_(std::exchange(other.pool_, nullptr)), endpoint_(std::exchange(other.endpoint_, nullptr)) {}
  EndpointHold& operator=(EndpointHold&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(endpoint_, other.endpoint_);
    return *this;
  }
  EndpointHold(const EndpointHold&) = delete;
  EndpointHold& operator=(const EndpointHold&) = delete;
  ~EndpointHold();

  [[nodiscard]] Endpoint& operator*() const noexcept { return *endpoint_; }
  [[nodiscard]] Endpoint* operator->() const noexcept { return endpoint_; }
  /// Forgets it (its process is the parent's).
  void detach() noexcept { pool_ = nullptr; }

 private:
  Pool* pool_ = nullptr;  // of a passing one only
  Endpoint* endpoint_ = nullptr;
};

}  // namespace fastpool::pool
