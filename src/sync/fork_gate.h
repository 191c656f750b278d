#pragma once

#include <chrono>

namespace fastpool::sync {

/// Keeps forks and foreign code with locks apart. What: a thread in a Section holds up a fork of the process until it has
/// left; a thread that wants in while a fork is under way waits until that is over. Why: the child has the one thread that
/// forked, so a lock that another thread held at the fork stays locked in the child for ever. Our own locks stand in objects
/// that the child abandons; those of a library that the child must go on using cannot be abandoned, nor be reached.
///
/// When not: around anything that waits for a peer, a user or the GIL (it would hold up every fork; a Recess is for that),
/// and not while holding a lock that a thread inside may want: a thread that waits at the gate would keep it.
///
/// Process-wide. Entering costs one exchange on a word of the thread's own, leaving a store. The first Section of a thread
/// allocates, none after it.
class ForkGate {
  struct Record;

 public:
  /// How long a fork waits for those inside. Then it goes on: the child may find a lock locked, as without the gate, but
  /// the parent is not held up for ever.
  static constexpr std::chrono::seconds patience{2};

  /// Inside for as long as it lives; they nest. One thread's.
  class Section {
   public:
    Section() noexcept;
    Section(const Section&) = delete;
    Section& operator=(const Section&) = delete;
    ~Section();

   private:
    Record* const record_;  ///< null: without memory for one, this thread goes unguarded
  };

  /// Outside for as long as it lives, for a wait in the middle of a Section; without one around it, nothing.
  class Recess {
   public:
    Recess() noexcept;
    Recess(const Recess&) = delete;
    Recess& operator=(const Recess&) = delete;
    ~Recess();

   private:
    Record* const record_;  ///< null: was not inside
    const unsigned depth_;
  };

  /// `task` runs at the end of every thread that was ever inside, in a Section.
  static void at_thread_end(void (*task)()) noexcept;

  /// The three fork handlers, for pthread_atfork. They do not wait for the forking thread's own Section.
  static void before_fork() noexcept;
  static void in_parent() noexcept;
  static void in_child() noexcept;

  /// Whether a fork waits or is under way.
  [[nodiscard]] static bool fork_wanted() noexcept;

 private:
  struct ThreadEnd;
  [[nodiscard]] static Record* record_of_this_thread() noexcept;
  static void enter(Record& record) noexcept;
  static void leave(Record& record) noexcept;
};

}  // namespace fastpool::sync
