#pragma once

#include "model/relacy.h"

#include <iostream>
#include <ostream>
#include <string>

#include <gtest/gtest.h>

namespace fastpool::model {

/// How the schedules of a model are searched. A schedule is one order of all atomic steps, with one choice for each load of
/// the value that it sees, among the values that the memory model allows.
struct Search {
  rl::scheduler_type_e kind;
  unsigned preemptions;    ///< kind sched_bound: the most of them in one schedule
  rl::iteration_t rounds;  ///< kind sched_random
};
/// Every schedule.
[[nodiscard]] constexpr Search every_schedule() {
  return {rl::sched_full, 0, 0};
}
/// Every schedule with at most this number of preemptions. A thread that waits or ends is not preempted.
[[nodiscard]] constexpr Search up_to_preemptions(unsigned most) {
  return {rl::sched_bound, most, 0};
}
/// This number of random schedules, the same ones in each run.
[[nodiscard]] constexpr Search random_schedules(rl::iteration_t rounds) {
  return {rl::sched_random, 0, rounds};
}

template <typename Suite>
[[nodiscard]] rl::test_result_e run(const Search& search, std::ostream& report) {
  std::ostream nowhere(nullptr);
  rl::test_params params;
  params.search_type = search.kind;
  params.context_bound = search.preemptions;
  params.iteration_count = search.rounds;
  params.execution_depth_limit = 4000;
  params.progress_stream = &nowhere;
  params.output_stream = &report;
  rl::simulate<Suite>(params);
  std::cout << "schedules searched: " << params.stop_iteration << '\n';
  return params.test_result;
}

/// Expects that no schedule of the model fails. Prints the history of a schedule that does.
template <typename Suite>
void expect_holds(const Search& search) {
  const rl::test_result_e result = run<Suite>(search, std::cout);
  EXPECT_EQ(result, rl::test_result_success) << rl::test_result_str(result) << "; the history stands above";
}

/// Expects that the search finds a schedule of this mutant of a model that fails in the given way. A search that finds none
/// proves nothing.
template <typename Suite>
void expect_caught(const Search& search, rl::test_result_e as) {
  std::ostream nowhere(nullptr);
  const bool show = std::getenv("FASTPOOL_MODEL_HISTORY") != nullptr;
  const rl::test_result_e result = run<Suite>(search, show ? std::cout : nowhere);
  EXPECT_EQ(result, as) << "found: " << rl::test_result_str(result);
}

}  // namespace fastpool::model
