#include "connection/race.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <sys/socket.h>

namespace fastpool::connection {

namespace {

bool out_of_descriptors(int os_error) noexcept {
  return os_error == EMFILE || os_error == ENFILE;
}

/// Nothing was sent: this machine cannot reach such addresses at all. EADDRNOTAVAIL counts for IPv6 only, where it means
/// that IPv6 is switched off; for IPv4 it means that the local ports are used up.
bool never_asked(const FailedAttempt& failure) noexcept {
  return failure.os_error == ENETUNREACH || failure.os_error == EAFNOSUPPORT ||
         (failure.os_error == EADDRNOTAVAIL && failure.address.family() == AF_INET6);
}

/// A socket file that is missing is as final as one that has no listener.
bool refused(const FailedAttempt& failure) noexcept {
  return failure.os_error == ECONNREFUSED || (failure.os_error == ENOENT && failure.address.family() == AF_UNIX);
}

const FailedAttempt& most_telling(std::span<const FailedAttempt> failures) noexcept {
  const FailedAttempt* chosen = &failures.back();
  for (const FailedAttempt& failure : failures) {
    if (out_of_descriptors(failure.os_error)) {
      return failure;
    }
    if (!never_asked(failure)) {
      chosen = &failure;
    }
  }
  return *chosen;
}

}  // namespace

std::vector<net::SocketAddress> interleave(std::span<const net::SocketAddress> addresses, int only_family) {
  std::vector<net::SocketAddress> first;
  std::vector<net::SocketAddress> second;
  for (const net::SocketAddress& address : addresses) {
    if (only_family != AF_UNSPEC && address.family() != only_family) {
      continue;
    }
    (first.empty() || first.front().family() == address.family() ? first : second).push_back(address);
  }
  std::vector<net::SocketAddress> ordered;
  ordered.reserve(first.size() + second.size());
  for (std::size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
    if (i < first.size()) {
      ordered.push_back(first[i]);
    }
    if (i < second.size()) {
      ordered.push_back(second[i]);
    }
  }
  return ordered;
}

RaceMove decide(const RaceState& state, TimePoint now) noexcept {
  if (state.untried > 0) {
    return state.under_way == 0 || now >= state.next_start ? RaceMove::start_next : RaceMove::wait;
  }
  return state.under_way > 0 ? RaceMove::wait : RaceMove::give_up;
}

std::string describe(std::span<const FailedAttempt> failures) {
  std::string text;
  for (const FailedAttempt& failure : failures) {
    if (!text.empty()) {
      text += ", ";
    }
    text += failure.address.to_string() + ": ";
    if (failure.step != "connect") {
      text.append(failure.step).append(": ");
    }
    text += std::generic_category().message(failure.os_error);
  }
  return text;
}

Error race_error(const std::string& target, std::span<const FailedAttempt> failures) {
  Error error =
      Error::make(ErrorCode::connect_failed, Phase::connect,
                  "cannot connect to " + target + " (" + describe(failures) + ")", most_telling(failures).os_error);
  error.final = std::any_of(failures.begin(), failures.end(), refused) &&
                std::all_of(failures.begin(), failures.end(),
                            [](const FailedAttempt& failure) { return refused(failure) || never_asked(failure); });
  return error;
}

}  // namespace fastpool::connection
