#pragma once

#include <optional>

namespace fastpool::support {

/// Unlinks a cell, like a thread that has popped it. \returns the word of its lease; nothing if the slot was not ready.
template <typename Word>
[[nodiscard]] auto lease_popped(Word& word) noexcept -> std::optional<typename Word::View> {
  const auto change = word.unlink();
  if (change.before.state() == Word::State::idle || change.before.state() == Word::State::vacant) return change.after;
  return std::nullopt;
}

}  // namespace fastpool::support
