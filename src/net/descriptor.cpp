#include "net/descriptor.h"

#include <cerrno>

#include <memory>

#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sync/descriptor_set.h"
#include "sync/fork_gate.h"
#include "sync/per_epoch.h"

namespace fastpool::net {

namespace {

constinit sync::DescriptorSet live_descriptors;
constinit sync::ForkCounter forks;

/// An empty file in memory with an inode of its own. While its number still leads to that inode, the library's descriptors
/// were not closed by other code (all eventfds and epoll sets share one inode, so theirs would prove nothing).
class Sentinel {
 public:
  Sentinel() noexcept : number_(::memfd_create("fastpool", MFD_CLOEXEC)) {
    if (number_ < 0 || ::fstat(number_, &made_) != 0) return;
    live_descriptors.insert(number_);
  }
  Sentinel(const Sentinel&) = delete;
  Sentinel& operator=(const Sentinel&) = delete;
  /// Of one that another thread's came before.
  ~Sentinel() {
    if (number_ < 0) return;
    live_descriptors.erase(number_);
    ::close(number_);
  }
  /// True also where there was no descriptor left for it.
  [[nodiscard]] bool intact() const noexcept {
    if (number_ < 0) return true;
    struct stat now{};
    return ::fstat(number_, &now) == 0 && now.st_dev == made_.st_dev && now.st_ino == made_.st_ino;
  }

 private:
  const int number_;
  struct stat made_{};
};

constinit sync::PerEpoch<Sentinel> sentinels;

void end_epoch(unsigned epoch) noexcept {
  if (forks.advance_from(epoch)) live_descriptors.take_all([](int) {});
}

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
  static_cast<void>(sentinels.get(epoch_, [] { return std::make_unique<Sentinel>(); }));
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
  const bool foreign = number_ >= 0 && (inherited() || descriptors_lost());
  const int number = std::exchange(number_, -1);
  if (number < 0 || foreign) return;
  live_descriptors.erase(number);
  ::close(number);
}

unsigned fork_epoch() noexcept {
  return forks.current();
}

bool descriptors_lost() noexcept {
  const unsigned epoch = forks.current();
  const Sentinel* const sentinel = sentinels.find(epoch);
  if (sentinel == nullptr) return false;
  const int saved = errno;
  const bool lost = !sentinel->intact();
  errno = saved;
  if (lost) end_epoch(epoch);
  return lost;
}

void note_socket_error(int os_error, unsigned epoch) noexcept {
  if (os_error == EBADF || os_error == ENOTSOCK) end_epoch(epoch);
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
