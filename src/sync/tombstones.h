#pragma once

#include <cstdint>
#include <vector>

#include "sync/atomics.h"
#include "sync/slot_word.h"
#include "sync/tagged_list.h"

namespace fastpool::sync {

/// The tombstones of one owner's lists: closing cells that are still linked, since a cell below the head of a list cannot be
/// taken out of it. A thread that unlinks one drops it; a sweep unlinks them all.
///
///   a slot that is linked, about to close     counted, then the step to Closing; the count is taken back if the step was not
///                                             made, or if the cell was unlinked meanwhile
///   a thread that unlinks a closing cell      drop(): one less
///
/// So a pop that meets the tombstone right after the step finds it counted.
///
///   a sweep                                   sets `sweeping`, takes a list out, puts the living back, clears `sweeping`,
///                                             and has the queue served
///   a caller that queues                      joins the queue, looks at the list, then at `sweeping`: if that is set, it
///                                             leaves the rest to the sweep's end
///
/// Any thread may call anything.
template <typename Atomics = StdAtomics>
class BasicTombstones {
 public:
  using Word = BasicSlotWord<Atomics>;
  using View = typename Word::View;
  using Step = typename Word::Step;

  /// Makes a step to Closing by the slot's owner. \param make_step returns the Step of that word.
  template <typename MakeStep>
  [[nodiscard]] Step close(const Word& word, MakeStep&& make_step) noexcept {
    const bool linked = word.load().linked();
    if (linked) count_.add();
    const Step step = make_step();
    if (linked && !(step.made && step.linked)) (void)count_.subtract();
    return step;
  }
  /// Reaps a slot that is exactly as `seen`.
  [[nodiscard]] bool reap(Word& word, const View& seen) noexcept {
    if (seen.linked()) count_.add();
    if (word.try_reap(seen)) return true;
    if (seen.linked()) (void)count_.subtract();
    return false;
  }
  /// A closing cell was unlinked.
  void drop() noexcept { (void)count_.subtract(); }
  [[nodiscard]] std::uint32_t count() const noexcept { return count_.get(); }

  /// Whether a list is out for sweeping: it looks empty and is not.
  [[nodiscard]] bool sweeping() const noexcept { return sweeping_.get(); }
  /// Unlinks all tombstones of the lists. Does nothing while another thread sweeps.
  /// \param links, words: \see BasicIdleList::pop. \param drop is called with the index of each tombstone, and whether it is
  ///        finished; it calls drop(). \param serve serves the queue if callers wait: one that queued meanwhile saw the flag
  ///        and began no dial.
  template <typename Links, typename Words, typename Drop, typename Serve, typename... Lists>
  void sweep(Links&& links, Words&& words, Drop&& drop, Serve&& serve, Lists&... lists) {
    if (!sweeping_.try_set()) return;
    (sweep_one(links, words, drop, lists), ...);
    sweeping_.clear();
    serve();
  }

 private:
  template <typename Links, typename Words, typename Drop, typename List>
  static void sweep_one(Links& links, Words& words, Drop& drop, List& list) {
    std::vector<std::uint32_t> living;
    for (std::uint32_t index = list.take_all(); index != List::none;) {
      const std::uint32_t next = links(index).load();
      const auto change = words(index).unlink_unless_ready();
      if (change.after.linked()) {
        living.push_back(index);
      } else if (change.before.state() == Word::State::closing) {
        drop(index, change.after.finished());
      }  // else it is leased: its holder pushes it
      index = next;
    }
    for (auto index = living.rbegin(); index != living.rend(); ++index)
      list.push(*index, links);
  }

  BasicCount<Atomics> count_;
  BasicFlag<Atomics> sweeping_;
};
using Tombstones = BasicTombstones<>;

}  // namespace fastpool::sync
