#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "sync/tagged_list.h"

namespace fastpool::pool {

class Endpoint;

/// Which slot each thread parked last at an endpoint: where it looks first when it needs a connection there. A thread that
/// takes and parks the same slot again and again touches no line that other threads write (the idea is that of HikariCP's
/// ConcurrentBag, without its scan).
///
/// A hint is a guess. It names a slot by its index, which only the endpoint's own pool resolves, and it is believed only if
/// the slot's word and endpoint confirm it. So hints of ended pools, of recycled endpoints and of the parent of a fork are
/// harmless, and nothing has to clear them. The table is constant-initialised and trivially destructible: destructors of
/// other thread_local and static objects may use it.
class Hints {
 public:
  static constexpr std::uint32_t none = sync::TaggedList::none;

  [[nodiscard]] static std::uint32_t at(const Endpoint& endpoint) noexcept {
    const Hint& hint = own[place_of(endpoint)];
    return hint.endpoint == &endpoint ? hint.index : none;
  }
  static void note(const Endpoint& endpoint, std::uint32_t index) noexcept {
    own[place_of(endpoint)] = {&endpoint, index};
  }

 private:
  struct Hint {
    const Endpoint* endpoint = nullptr;  ///< compared, never followed
    std::uint32_t index = none;
  };
  static constexpr unsigned place_bits = 4;

  [[nodiscard]] static std::size_t place_of(const Endpoint& endpoint) noexcept {
    // Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4).
    return (reinterpret_cast<std::uintptr_t>(&endpoint) * 0x9e3779b97f4a7c15U) >> (64U - place_bits);
  }

  static constinit thread_local std::array<Hint, std::size_t{1} << place_bits> own;
};

inline constinit thread_local std::array<Hints::Hint, std::size_t{1} << Hints::place_bits> Hints::own{};

}  // namespace fastpool::pool
