#pragma once

#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "sync/atomics.h"
#include "sync/linked_queue.h"

namespace fastpool::sync {

/// The places of many members under one limit (the connections of all endpoints of a pool), a limit on each member's own
/// part, and the list of the members that the total limit holds up: the *starving*, first come, first served.
///
///   a caller that needs a place                          a thread that frees something
///
///   take() --------------- a place --> done              it gives a place back (give(), then freed()), parks a connection,
///     | the total limit                                  or leaves a dial without a caller (\see Parking for both)
///   the member is listed   (1)                             |                    (2)
///     |                                                  does a member starve?   -- no --> done
///   take() again --------- a place --> done                | yes                (3)
///     | still none         (4)                           relieve(): the first of the list takes what it can,
///   room.evict(): one idle connection of another           then the next, once round
///   member ends, and its end is the other column
///
/// (1) comes before (4), and (2) before (3), all of them seq_cst. So one side sees the other: either the caller finds the
/// place (or the idle connection), or the freeing thread finds the member in the list.
///
/// What a place is and what an eviction does is the user's: it passes
///
///   a Room   `drop_spare()`: begins to end something of this member's own that no caller waits for; true if it did.
///            `evict()`: begins to end something idle of another member; true if it did.
///            `give_way()`, of a newcomer only: serves the callers of this member that wait, if there are any.
///   a Host   `lock(owner)`: the owner's lock, as a scoped object. `serve_locked(owner, actions)`: has its callers take what
///            they can; true if one of them got something. `perform(actions)`: does, without a lock, what that decided; true
///            if something was evicted. `stuck()`: the first of the list got nothing. `serve_waiting(owner)`, without a lock:
///            serves the callers of that member that wait, if there are any.
///
/// Any thread may call anything. A member's lock is taken before that of the list. take() and give() take no lock.
template <typename Owner, typename Atomics = StdAtomics>
class BasicTotalLimit {
 public:
  enum class Taken : std::uint8_t { yes, own_limit, total_limit };

  /// One member's part: belongs to its owner, and outlives its places.
  class Member {
   public:
    explicit Member(Owner& owner) noexcept : owner_(owner) {}
    Member(const Member&) = delete;
    Member& operator=(const Member&) = delete;

    /// How many places it has.
    [[nodiscard]] std::uint32_t places() const noexcept { return places_.get(); }
    /// Whether it is listed, or in the hand of a thread that serves it. Guarded by the owner's lock.
    [[nodiscard]] bool starving() const noexcept { return starving_; }

   private:
    friend class BasicTotalLimit;
    friend class LinkedQueue<Member>;

    Owner& owner_;
    BasicCount<Atomics> places_;
    bool starving_ = false;  // guarded by the owner's lock
    bool listed_ = false;    // guarded by the limit's mutex, as the links are
    Member* previous = nullptr;
    Member* next = nullptr;
  };

  BasicTotalLimit(std::uint32_t most_of_each, std::uint32_t most) noexcept : most_of_each_(most_of_each), most_(most) {}

  // ---- places ----------------------------------------------------------------------------------------------------------

  /// A place for a member, if both limits allow it.
  [[nodiscard]] Taken take(Member& member) noexcept {
    if (!member.places_.add_below(most_of_each_)) return Taken::own_limit;
    if (taken_.add_below(most_)) return Taken::yes;
    member.places_.subtract();
    return Taken::total_limit;
  }
  /// Gives a place back. Call freed() then, with no lock held.
  void give(Member& member) noexcept {
    taken_.subtract();
    member.places_.subtract();
  }
  /// How many places all members have.
  [[nodiscard]] std::uint32_t taken() const noexcept { return taken_.get(); }

  /// A place for a caller that waits; its member's lock is held. If the total limit bars it, the member is listed, and
  /// something is evicted.
  template <typename Room>
  [[nodiscard]] Taken take_or_starve_locked(Member& member, Room&& room) {
    Taken taken = take(member);
    if (taken == Taken::own_limit) (void)room.drop_spare();
    if (taken != Taken::total_limit) return taken;
    list_locked(member);
    taken = take(member);
    if (taken == Taken::total_limit && !room.drop_spare()) (void)room.evict();
    return taken;
  }
  /// A place at once for a newcomer, which does not wait; no lock is held. Ends something idle for it if it must.
  template <typename Room>
  [[nodiscard]] Taken take_or_evict(Member& member, Room&& room) {
    Taken taken = take(member);
    if (taken != Taken::yes && room.drop_spare()) taken = take(member);
    if (taken == Taken::total_limit && room.evict()) taken = take(member);
    // Each take() held a place of the member's until it met the total limit. A caller that queued meanwhile may have been
    // refused that place, and is not listed.
    if (taken == Taken::total_limit) room.give_way();
    return taken;
  }

  // ---- the starving ----------------------------------------------------------------------------------------------------

  /// Whether a member starves. Read after whatever may help one.
  [[nodiscard]] bool has_starving() const noexcept { return starving_.get() != 0; }
  /// Lists a member, whose lock is held, at the end. Look for room again after that.
  void list_locked(Member& member) {
    if (member.starving_) return;
    member.starving_ = true;
    const std::lock_guard lock(mutex_);
    member.listed_ = true;
    list_.push_back(member);
    starving_.add();
  }
  /// The first of the list, or null.
  [[nodiscard]] Owner* first_starving() noexcept {
    const std::lock_guard lock(mutex_);
    return list_.empty() ? nullptr : &list_.front()->owner_;
  }
  /// All of the list, in order.
  [[nodiscard]] std::vector<Owner*> all_starving() {
    const std::lock_guard lock(mutex_);
    std::vector<Owner*> all;
    for (const Member* member = list_.front(); member != nullptr; member = member->next)
      all.push_back(&member->owner_);
    return all;
  }
  /// After a place of that member was given back. No lock is held. The starving first: the member is among them, at its place, if
  /// it is held up too.
  template <typename Host>
  void freed(Owner& owner, Host host) {
    relieve_if_starving(host);
    host.serve_waiting(owner);
  }
  /// After anything was freed. No lock is held.
  template <typename Host>
  void relieve_if_starving(Host host) {
    if (has_starving()) [[unlikely]]
      relieve(host);
  }
  /// Serves the starving, since something was freed. No lock is held.
  template <typename Host>
  void relieve(Host host) {
    // What a turn evicts ends in this thread and frees a place, which calls relieve() again: another round instead.
    Relieving& relieving = Atomics::template of_thread<Relieving>();
    if (relieving.limit == this) {
      relieving.again = true;
      return;
    }
    const Relieving outer = std::exchange(relieving, {this, false});
    do {
      relieving.again = false;
      relieve_once(host);
    } while (relieving.again && has_starving());
    relieving = outer;
  }

 private:
  /// Which limit a thread relieves.
  struct Relieving {
    const BasicTotalLimit* limit = nullptr;
    bool again = false;
  };

  // Once round: a member that got something and wants more lists itself again, at the end.
  template <typename Host>
  void relieve_once(Host& host) {
    for (std::uint32_t turns = starving_.get(); turns > 0; --turns) {
      Member* const member = take_first();
      if (member == nullptr) return;
      typename Host::Actions actions;
      bool starves = false;
      {
        const auto lock = host.lock(member->owner_);
        member->starving_ = false;
        const bool served = host.serve_locked(member->owner_, actions);
        starves = member->starving_;
        if (starves && !served) keep_place(*member);
      }
      const bool evicted = host.perform(actions);
      if (starves && !evicted) {
        host.stuck();
        return;
      }
    }
  }
  [[nodiscard]] Member* take_first() noexcept {
    const std::lock_guard lock(mutex_);
    if (list_.empty()) return nullptr;
    Member& first = *list_.front();
    list_.remove(first);
    first.listed_ = false;
    starving_.subtract();
    return &first;
  }
  // A member that was taken off the list and got nothing goes back to the head. Another thread may have taken it again.
  void keep_place(Member& member) noexcept {
    const std::lock_guard lock(mutex_);
    if (!member.listed_) return;
    list_.remove(member);
    list_.insert_before(list_.front(), member);
  }

  const std::uint32_t most_of_each_;
  const std::uint32_t most_;
  BasicCount<Atomics> starving_;  // how many are listed: every thread that parks a connection reads it

  alignas(64) BasicCount<Atomics> taken_;  // written by dials and closes only

  // Guarded by mutex_, a leaf.
  typename Atomics::Mutex mutex_;
  LinkedQueue<Member> list_;
};

}  // namespace fastpool::sync
