#pragma once

#include <utility>

#include "pool/endpoint.h"

namespace fastpool::pool {

class Pool;

/// The right to use an endpoint, which lives at least as long. Move-only. Must not outlive the pool. Not thread-safe.
class EndpointHold {
 public:
  EndpointHold() = default;
  /// Adopts a use that was counted.
  EndpointHold(Pool& pool, Endpoint& endpoint) noexcept : pool_(&pool), endpoint_(&endpoint) {}
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

  [[nodiscard]] explicit operator bool() const noexcept { return endpoint_ != nullptr; }
  [[nodiscard]] Endpoint& operator*() const noexcept { return *endpoint_; }
  [[nodiscard]] Endpoint* operator->() const noexcept { return endpoint_; }
  /// Forgets the endpoint without releasing it (its process is the parent's).
  void detach() noexcept { pool_ = nullptr; }

 private:
  Pool* pool_ = nullptr;
  Endpoint* endpoint_ = nullptr;
};

}  // namespace fastpool::pool
