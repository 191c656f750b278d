#pragma once

/// \file
/// What one would write first: per endpoint a mutex and a deque, the most recently used at the back. It has neither ids nor
/// limits, lifetimes or statistics, so it is no slower than it must be.

#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

namespace fastpool::bench {

class LockedPool {
 public:
  struct Connection {};
  struct Endpoint {
    std::mutex mutex;
    std::deque<Connection*> idle;
  };

  LockedPool(std::size_t endpoints, std::size_t idle_each) {
    for (std::size_t i = 0; i < endpoints; ++i) {
      endpoints_.push_back(std::make_unique<Endpoint>());
      for (std::size_t j = 0; j < idle_each; ++j) {
        connections_.push_back(std::make_unique<Connection>());
        endpoints_.back()->idle.push_back(connections_.back().get());
      }
    }
  }

  [[nodiscard]] Endpoint& endpoint(std::size_t index) noexcept { return *endpoints_[index]; }
  [[nodiscard]] std::size_t size() const noexcept { return endpoints_.size(); }

  // Not inlined, as our pool's are not.
  [[nodiscard, gnu::noinline]] static Connection* acquire(Endpoint& endpoint) {
    const std::lock_guard lock(endpoint.mutex);
    if (endpoint.idle.empty()) return nullptr;
    Connection* connection = endpoint.idle.back();
    endpoint.idle.pop_back();
    return connection;
  }
  [[gnu::noinline]] static void release(Endpoint& endpoint, Connection* connection) {
    const std::lock_guard lock(endpoint.mutex);
    endpoint.idle.push_back(connection);
  }

 private:
  std::vector<std::unique_ptr<Endpoint>> endpoints_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace fastpool::bench
