#include "net/descriptor.h"

#include <cerrno>

#include <pthread.h>
#include <unistd.h>

#include "sync/descriptor_set.h"
#include "sync/fork_gate.h"

namespace fastpool::net {

namespace {

constinit sync::DescriptorSet live_descriptors;
constinit sync::ForkCounter forks;

/// In the child, which has this one thread and may hold any lock of the parent: system calls and atomics only.
void begin_in_child() noexcept {
  forks.advance();
  sync::ForkGate::in_child();
  live_descriptors.take_all([](int number) { ::close(number); });
}

}  // namespace

Descriptor::Descriptor(int number) noexcept : number_(number < 0 ? -1 : number) {
  if (number_ < 0) return;
  const int saved = errno;
  install_fork_handler();
  epoch_ = forks.current();
  live_descriptors.insert(number_);
  errno = saved;
}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    reset();
    number_ = std::exchange(other.number_, -1);
    epoch_ = other.epoch_;
  }
  return *this;
}

bool Descriptor::inherited() const noexcept {
  return number_ >= 0 && epoch_ != forks.current();
}

void Descriptor::reset() noexcept {
  const bool foreign = inherited();
  const int number = std::exchange(number_, -1);
  if (number < 0 || foreign) return;
  live_descriptors.erase(number);
  ::close(number);
}

unsigned fork_epoch() noexcept {
  return forks.current();
}

void install_fork_handler() noexcept {
  [[maybe_unused]] static const int installed =
      ::pthread_atfork(sync::ForkGate::before_fork, sync::ForkGate::in_parent, begin_in_child);
}

namespace {

// As the library is loaded: a fork beside a first use would copy that half done, and the child would wait for its end.
[[maybe_unused]] const bool installed_at_load = (install_fork_handler(), true);

}  // namespace

}  // namespace fastpool::net
