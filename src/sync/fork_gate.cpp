#include "sync/fork_gate.h"

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <new>
#include <thread>
#include <utility>

#include "sync/parker.h"

namespace fastpool::sync {

namespace {

/// How long a fork sleeps between two looks at a thread that is inside.
constexpr std::chrono::microseconds look_interval{50};
/// Who sleeps at the gate looks by himself this often; the wake comes sooner.
constexpr std::chrono::milliseconds sleep_interval{10};

/// Forks that wait or are under way; who sleeps at the gate sleeps on this word.
constinit std::atomic<std::uint32_t> forks{0};
constinit std::atomic<void (*)()> thread_end_task{nullptr};
/// This thread is between before_fork() and the end of the fork: handlers of others run in it, and may come in.
constinit thread_local bool forking = false;

}  // namespace

/// One thread that was ever inside. Never freed; when its thread ends it is another's.
struct alignas(64) ForkGate::Record {
  std::atomic<bool> inside{false};  ///< written by its thread (and by in_child()), read by whoever forks
  std::atomic<bool> taken{true};
  unsigned depth = 0;      ///< its thread's: Sections open in it, none of them in a Recess
  Record* next = nullptr;  ///< immutable once the record is in `records`

  static std::atomic<Record*> records;  ///< all of them, the newest first
  static thread_local Record* own;      ///< this thread's
};

constinit std::atomic<ForkGate::Record*> ForkGate::Record::records{nullptr};
constinit thread_local ForkGate::Record* ForkGate::Record::own = nullptr;

struct ForkGate::ThreadEnd {
  ThreadEnd() = default;
  ThreadEnd(const ThreadEnd&) = delete;
  ThreadEnd& operator=(const ThreadEnd&) = delete;
  ~ThreadEnd() {
    Record* const record = Record::own;
    if (record == nullptr) return;
    if (void (*const task)() = thread_end_task.load(); task != nullptr) {
      const Section inside;
      task();
    }
    Record::own = nullptr;  // who comes in later, at the end of the process, gets a record that stays taken
    // release: pairs with the acquire of the next owner's exchange, for `depth`.
    record->taken.store(false, std::memory_order_release);
  }
};

ForkGate::Record* ForkGate::record_of_this_thread() noexcept {
  if (Record::own != nullptr) [[likely]]
    return Record::own;
  static thread_local const ThreadEnd end;
  for (Record* record = Record::records.load(); record != nullptr; record = record->next) {
    // relaxed: a look before the exchange, which decides. acquire: pairs with the release in ~ThreadEnd().
    if (!record->taken.load(std::memory_order_relaxed) && !record->taken.exchange(true, std::memory_order_acquire)) {
      return Record::own = record;
    }
  }
  auto* const made = new (std::nothrow) Record;
  if (made == nullptr) return nullptr;
  made->next = Record::records.load();
  while (!Record::records.compare_exchange_weak(made->next, made)) {
  }
  return Record::own = made;
}

// "I am inside; is there a fork?" against "there is a fork; is anybody inside?" in before_fork(): seq_cst, so that one of
// the two sees the other. The same for a new record: it is listed before the first, and looked for after the second.
void ForkGate::enter(Record& record) noexcept {
  for (;;) {
    record.inside.exchange(true);
    const std::uint32_t seen = forks.load();
    if (seen == 0 || forking) [[likely]]
      return;
    leave(record);
    const int saved = errno;  // of the call that a Recess is around
    (void)LinuxFutex::wait(forks, seen, Clock::now() + sleep_interval);
    LinuxFutex::wake_one(forks);  // the next in line: each wakes one
    errno = saved;
  }
}

void ForkGate::leave(Record& record) noexcept {
  // release: pairs with before_fork()'s load; what was done inside, unlocking above all, is seen by the fork.
  record.inside.store(false, std::memory_order_release);
}

ForkGate::Section::Section() noexcept : record_(record_of_this_thread()) {
  if (record_ != nullptr && record_->depth++ == 0) enter(*record_);
}

ForkGate::Section::~Section() {
  if (record_ != nullptr && --record_->depth == 0) leave(*record_);
}

ForkGate::Recess::Recess() noexcept
    : record_(Record::own != nullptr && Record::own->depth > 0 ? Record::own : nullptr),
      depth_(record_ != nullptr ? std::exchange(record_->depth, 0U) : 0U) {
  if (record_ != nullptr) leave(*record_);
}

ForkGate::Recess::~Recess() {
  if (record_ == nullptr) return;
  enter(*record_);
  record_->depth = depth_;
}

void ForkGate::at_thread_end(void (*task)()) noexcept {
  thread_end_task.store(task);
}

bool ForkGate::fork_wanted() noexcept {
  return forks.load() != 0;
}

void ForkGate::before_fork() noexcept {
  forks.fetch_add(1);
  forking = true;
  const TimePoint limit = Clock::now() + patience;
  for (Record* record = Record::records.load(); record != nullptr; record = record->next) {
    if (record == Record::own) continue;
    while (record->inside.load() && Clock::now() < limit)
      std::this_thread::sleep_for(look_interval);
  }
}

void ForkGate::in_parent() noexcept {
  forking = false;
  if (forks.fetch_sub(1) == 1) LinuxFutex::wake_one(forks);
}

// One thread, and locks that may be held: stores only.
void ForkGate::in_child() noexcept {
  forking = false;
  forks.store(0);
  for (Record* record = Record::records.load(); record != nullptr; record = record->next) {
    if (record == Record::own) continue;
    record->depth = 0;
    record->inside.store(false);
    record->taken.store(false);
  }
}

}  // namespace fastpool::sync
