#include "sync/epoch_pointer.h"

#include <atomic>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
using AbandonedOnPurpose = __lsan::ScopedDisabler;
#else
struct AbandonedOnPurpose {
  AbandonedOnPurpose() {}
};
#endif

namespace fastpool::sync {
namespace {

/// Counts its live instances.
struct Counted {
  explicit Counted(std::atomic<int>& count) : living(count) { ++living; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --living; }
  std::atomic<int>& living;
};

class EpochPointerTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::unique_ptr<Counted> make() { return std::make_unique<Counted>(living_); }
  std::atomic<int> living_{0};
};

TEST_F(EpochPointerTest, returns_its_first_object_in_the_same_epoch) {
  auto object = make();
  Counted* const first = object.get();
  EpochPointer<Counted> pointer(3, std::move(object));
  EXPECT_EQ(&pointer.get(3, [&](const Counted*) { return make(); }), first);
  EXPECT_EQ(pointer.epoch(), 3U);
  EXPECT_EQ(living_, 1);
}

TEST_F(EpochPointerTest, destroys_its_object) {
  {
    const EpochPointer<Counted> pointer(0, make());
  }
  EXPECT_EQ(living_, 0);
}

TEST_F(EpochPointerTest, does_not_destroy_an_abandoned_object) {
  Counted* left = nullptr;
  {
    auto object = make();
    left = object.get();
    EpochPointer<Counted> pointer(0, std::move(object));
    pointer.abandon();
  }
  EXPECT_EQ(living_, 1);
  delete left;
}

TEST_F(EpochPointerTest, makes_a_new_object_in_a_new_epoch_and_leaves_the_old_one_alone) {
  auto object = make();
  Counted* const old = object.get();
  std::optional<AbandonedOnPurpose> abandoned(std::in_place);
  auto pointer = std::make_unique<EpochPointer<Counted>>(0, std::move(object));
  abandoned.reset();
  Counted& fresh = pointer->get(1, [&](const Counted*) { return make(); });
  EXPECT_NE(&fresh, old);
  EXPECT_EQ(pointer->epoch(), 1U);
  EXPECT_EQ(&pointer->get(1, [&](const Counted*) { return make(); }), &fresh);
  EXPECT_EQ(living_, 2);
  pointer.reset();
  EXPECT_EQ(living_, 1) << "only the new object lives";
  delete old;
}

TEST_F(EpochPointerTest, gives_all_threads_of_a_new_epoch_the_same_object) {
  auto object = make();
  std::unique_ptr<Counted> old(object.get());
  std::optional<AbandonedOnPurpose> abandoned(std::in_place);
  EpochPointer<Counted> pointer(0, std::move(object));
  abandoned.reset();
  std::vector<Counted*> seen(4);
  std::vector<std::thread> threads;
  for (Counted*& mine : seen)
    threads.emplace_back([&] { mine = &pointer.get(1, [&](const Counted*) { return make(); }); });
  for (std::thread& thread : threads)
    thread.join();
  EXPECT_EQ(std::set<Counted*>(seen.begin(), seen.end()).size(), 1U);
  EXPECT_EQ(living_, 2) << "the old object and one new object";
}

}  // namespace
}  // namespace fastpool::sync
