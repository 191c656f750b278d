#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "driver/event_loop.h"
#include "net/descriptor.h"

namespace fastpool::driver {

/// \see EventLoop. All registrations of connections are of this kind.
class EventLoop::Registration final : public connection::LoopRegistration {
 public:
  Registration(std::shared_ptr<EventLoop> loop, int descriptor, std::uint32_t index, Entry& entry) noexcept
      : loop_(std::move(loop)), descriptor_(descriptor), index_(index), entry_(entry) {}
  ~Registration() override;

  [[nodiscard]] bool is_of(const void* loop) const noexcept override { return loop_.get() == loop; }
  [[nodiscard]] Entry& entry() const noexcept { return entry_; }
  /// Whether the entry knows the connection's multiplexer.
  [[nodiscard]] bool multiplexes() const noexcept { return multiplexes_; }
  void set_multiplexes() noexcept { multiplexes_ = true; }
  /// Keeps the descriptor that it stands for.
  void own(net::Descriptor descriptor) noexcept { own_ = std::move(descriptor); }

 private:
  const std::shared_ptr<EventLoop> loop_;
  const int descriptor_;
  const std::uint32_t index_;
  Entry& entry_;
  bool multiplexes_ = false;
  net::Descriptor own_;
};

}  // namespace fastpool::driver
