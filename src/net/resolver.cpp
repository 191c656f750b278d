#include "net/resolver.h"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>

#include <netdb.h>

#include "net/background_thread.h"

namespace fastpool::net {

namespace {

constexpr std::size_t kMaxLabel = 63;
constexpr std::size_t kMaxName = 253;

struct AddrInfoDeleter {
  void operator()(addrinfo* list) const noexcept { freeaddrinfo(list); }
};

Error resolve_error(const std::string& host, const std::string& why, int os_error = 0) {
  return Error::make(ErrorCode::resolve_failed, Phase::resolve, "cannot resolve '" + host + "': " + why, os_error);
}

/// Why no resolver can take this name, or empty.
std::string refusal(const std::string& host) {
  if (host.empty()) {
    return "the name is empty";
  }
  if (host.find('\0') != std::string::npos) {
    return "the name contains a NUL byte";  // getaddrinfo would silently look up what stands before it
  }
  std::size_t label = 0;
  for (const char c : host) {
    label = c == '.' ? 0 : label + 1;
    if (label > kMaxLabel) {
      return "a label of the name is longer than 63 bytes";
    }
  }
  if (host.size() - (host.back() == '.' ? 1U : 0U) > kMaxName) {
    return "the name is longer than 253 bytes";
  }
  return {};
}

}  // namespace

Result<AddressList> system_look_up(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* raw = nullptr;
  const int code = getaddrinfo(host.c_str(), nullptr, &hints, &raw);
  const int os_error = code == EAI_SYSTEM ? errno : 0;
  const std::unique_ptr<addrinfo, AddrInfoDeleter> list(raw);
  if (code != 0) {
    Error error = resolve_error(
        host, code == EAI_SYSTEM ? std::generic_category().message(os_error) : std::string(gai_strerror(code)),
        os_error);
    error.final = code == EAI_NONAME || code == EAI_NODATA;
    return error;
  }
  AddressList addresses;
  for (const addrinfo* entry = list.get(); entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_family != AF_INET && entry->ai_family != AF_INET6) {
      continue;
    }
    const SocketAddress address(entry->ai_addr, entry->ai_addrlen);
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end()) {
      addresses.push_back(address);
    }
  }
  if (addresses.empty()) {
    Error error = resolve_error(host, "the name has no IPv4 or IPv6 address");
    error.final = true;
    return error;
  }
  return addresses;
}

struct Resolver::State {
  /// One look-up and all who wait for it.
  struct Flight {
    std::string host;
    TimePoint asked;
    Duration max_age{};  ///< the longest of its callers
    std::vector<ResolveDone> callers;
  };
  struct Cached {
    AddressList addresses;
    TimePoint asked;
    Duration max_age{};  ///< of the look-up's callers; no other caller may want it for longer
    CacheEntry entry = 0;
    [[nodiscard]] bool outlived(TimePoint now) const noexcept { return now - asked >= max_age; }
  };

  State(LookUp function, Settings chosen) : look_up(std::move(function)), settings(chosen) {}

  // Immutable.
  const LookUp look_up;
  const Settings settings;

  // Guarded by `mutex`.
  std::mutex mutex;
  std::condition_variable work;
  std::deque<std::shared_ptr<Flight>> queue;
  /// What a new caller of the same name may join. A flight that clear_cache() disowned is not in it.
  std::unordered_map<std::string, std::shared_ptr<Flight>> flights;
  std::unordered_map<std::string, Cached> cache;
  CacheEntry last_entry = 0;
  std::size_t threads = 0;
  std::size_t idle_threads = 0;
  bool closed = false;

  static void run(const std::shared_ptr<State>& state);
  void run_one(std::unique_lock<std::mutex>& lock);
  void keep(const Flight& flight, const AddressList& addresses);
  static bool start_thread(const std::shared_ptr<State>& state);
};

/// Makes room by dropping expired entries and, if that is nothing, the oldest.
void Resolver::State::keep(const Flight& flight, const AddressList& addresses) {
  if (settings.cache_names == 0 || flight.max_age <= Duration::zero()) {
    return;
  }
  if (cache.size() >= settings.cache_names && !cache.contains(flight.host)) {
    std::erase_if(cache, [&flight](const auto& entry) { return entry.second.outlived(flight.asked); });
    if (cache.size() >= settings.cache_names) {
      cache.erase(std::min_element(cache.begin(), cache.end(), [](const auto& left, const auto& right) {
        return left.second.asked < right.second.asked;
      }));
    }
  }
  cache.insert_or_assign(flight.host, Cached{addresses, flight.asked, flight.max_age, ++last_entry});
}

void Resolver::State::run_one(std::unique_lock<std::mutex>& lock) {
  const std::shared_ptr<Flight> flight = std::move(queue.front());
  queue.pop_front();
  lock.unlock();
  const Result<AddressList> found = look_up(flight->host);
  lock.lock();
  if (const auto entry = flights.find(flight->host); entry != flights.end() && entry->second == flight) {
    flights.erase(entry);
    if (found) {
      keep(*flight, found.value());
    }
  }
  std::vector<ResolveDone> callers = std::move(flight->callers);
  lock.unlock();
  for (const ResolveDone& done : callers) {
    done(found, 0);
  }
  callers.clear();  // what they captured goes without the lock too
  lock.lock();
}

void Resolver::State::run(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  for (;;) {
    if (!state->queue.empty()) {
      state->run_one(lock);
      continue;
    }
    ++state->idle_threads;
    const bool woken = state->work.wait_for(lock, state->settings.thread_idle,
                                            [&state] { return state->closed || !state->queue.empty(); });
    --state->idle_threads;
    if (!woken || state->closed) {
      --state->threads;
      return;
    }
  }
}

bool Resolver::State::start_thread(const std::shared_ptr<State>& state) {
  std::optional<std::thread> thread = start_background_thread("fastpool-dns", [state] { run(state); });
  if (!thread) {
    return false;
  }
  thread->detach();
  return true;
}

Resolver::Resolver() : Resolver(system_look_up) {}

Resolver::Resolver(LookUp look_up) : Resolver(std::move(look_up), Settings{}) {}

Resolver::Resolver(LookUp look_up, Settings settings) : state_(std::make_shared<State>(std::move(look_up), settings)) {}

Resolver::~Resolver() {
  std::deque<std::shared_ptr<State::Flight>> unbegun;
  {
    const std::lock_guard lock(state_->mutex);
    state_->closed = true;
    unbegun.swap(state_->queue);
    state_->flights.clear();
    state_->work.notify_all();
  }
  for (const auto& flight : unbegun) {
    for (const ResolveDone& done : flight->callers) {
      done(Error::make(ErrorCode::pool_closed, Phase::resolve, "the resolver was closed"), 0);
    }
  }
}

void Resolver::resolve(const std::string& host, TimePoint now, Duration max_age, ResolveDone done) {
  if (const std::optional<SocketAddress> numeric = SocketAddress::from_ip(host, 0)) {
    done(AddressList{*numeric}, 0);
    return;
  }
  if (const std::string why = refusal(host); !why.empty()) {
    Error error = resolve_error(host, why);
    error.final = true;
    done(std::move(error), 0);
    return;
  }

  std::unique_lock lock(state_->mutex);
  if (const auto cached = state_->cache.find(host); cached != state_->cache.end()) {
    if (now - cached->second.asked < max_age) {
      AddressList addresses = cached->second.addresses;
      const CacheEntry entry = cached->second.entry;
      lock.unlock();
      done(std::move(addresses), entry);
      return;
    }
    if (cached->second.outlived(now)) {
      state_->cache.erase(cached);
    }
  }
  if (const auto joined = state_->flights.find(host); joined != state_->flights.end()) {
    joined->second->max_age = std::max(joined->second->max_age, max_age);
    joined->second->callers.push_back(std::move(done));
    return;
  }
  auto flight = std::make_shared<State::Flight>();
  flight->host = host;
  flight->asked = now;
  flight->max_age = max_age;
  flight->callers.push_back(std::move(done));
  state_->flights.emplace(host, flight);
  state_->queue.push_back(flight);

  // A thread that was notified still counts as idle until it runs, so compare with the length of the queue.
  if (state_->queue.size() > state_->idle_threads && state_->threads < state_->settings.max_threads) {
    ++state_->threads;
    if (!State::start_thread(state_)) {
      --state_->threads;
      if (state_->threads == 0) {
        state_->queue.pop_back();
        state_->flights.erase(host);
        lock.unlock();
        flight->callers.front()(resolve_error(host, "no thread could be started for the look-up", EAGAIN), 0);
        return;
      }
    }
  }
  state_->work.notify_one();
}

void Resolver::forget(const std::string& host, CacheEntry entry) {
  const std::lock_guard lock(state_->mutex);
  if (const auto cached = state_->cache.find(host); cached != state_->cache.end() && cached->second.entry == entry) {
    state_->cache.erase(cached);
  }
}

void Resolver::clear_cache() {
  const std::lock_guard lock(state_->mutex);
  state_->cache.clear();
  state_->flights.clear();
}

}  // namespace fastpool::net
