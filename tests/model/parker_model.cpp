// The parker: a wake is never lost, and the woken thread sees what the waker wrote.

#include "model/relacy_atomics.h"
#include "model/search.h"
#include "sync/parker.h"

namespace fastpool::model {
namespace {

/// One thread sleeps for a value that another writes.
template <typename Parker>
struct OneWaits : rl::test_suite<OneWaits<Parker>, 2> {
  Parker parker;
  Plain<int> written;

  void thread(unsigned index) {
    if (index == 0) {
      RL_ASSERT(parker.park_until(TimePoint::max()));
      RL_ASSERT(written.get() == 1);
    } else {
      written.set(1);
      parker.unpark();
    }
  }
};

TEST(model, a_wake_publishes_what_was_written_before_it) {
  expect_holds<OneWaits<sync::BasicParker<RelacyAtomics, RelacyFutex>>>(every_schedule());
}

TEST(model, mutant_a_wake_without_memory_order) {
  expect_caught<OneWaits<sync::BasicParker<OrderedAtomics<Orders::relaxed>, RelacyFutex>>>(every_schedule(),
                                                                                           rl::test_result_data_race);
}

}  // namespace
}  // namespace fastpool::model
