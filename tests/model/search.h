#pragma once

#include "model/relacy.h"

#include <iostream>
#include <ostream>
#include <string>

#include <gtest/gtest.h>

namespace fastpool::model {

/// How the schedules of a model are searched. Each schedule is one order of all atomic steps, with one choice of the value
/// that each load sees among those that the memory model allows.
struct Search {
  rl::scheduler_type_e kind;
  unsigned preemptions;    ///< kind sched_bound: the most of them in one schedule
  rl::iteration_t rounds;  ///< kind sched_random
};
/// Every schedule.
[[nodiscard]] constexpr Search every_schedule() {
  return {rl::sched_full, 0, 0};
}
/// Every schedule in which threads are interrupted at most so often (a thread that waits or ends gives way for free).
[[nodiscard]] constexpr Search up_to_preemptions(unsigned most) {
  return {rl::sched_bound, most, 0};
}
/// That many schedules, drawn at random, the same in each run.
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

/// The model has no schedule that fails; if it has one, its history is printed.
template <typename Suite>
void expect_holds(const Search& search) {
  const rl::test_result_e result = run<Suite>(search, std::cout);
  EXPECT_EQ(result, rl::test_result_success) << rl::test_result_str(result) << "; the history stands above";
}

/// A mutant of a model: the search must find a schedule that fails in that way, or it would prove nothing.
template <typename Suite>
void expect_caught(const Search& search, rl::test_result_e as) {
  std::ostream nowhere(nullptr);
  const bool show = std::getenv("FASTPOOL_MODEL_HISTORY") != nullptr;
  const rl::test_result_e result = run<Suite>(search, show ? std::cout : nowhere);
  EXPECT_EQ(result, as) << "found: " << rl::test_result_str(result);
}

}  // namespace fastpool::model
