#include "connection/home.h"

#include <algorithm>
#include <new>

#include "connection/connection.h"
#include "pool/decisions.h"
#include "pool/pool.h"

namespace fastpool::connection {

namespace {

// Without its words, if there is no memory for them.
Error copy_of(const Error& error) noexcept {
  try {
    return error;
  } catch (const std::bad_alloc&) {
    Error bare;
    bare.code = error.code;
    bare.phase = error.phase;
    return bare;
  }
}

// Whether the error of a dial is also that of the callers that waited for its connection: not what concerns one caller alone.
bool is_shared(const Error& error) noexcept {
  if (error.code == ErrorCode::connect_timeout) return false;  // the patience of one caller
  return error.phase == Phase::resolve || error.phase == Phase::connect || error.phase == Phase::tls_handshake;
}

}  // namespace

// A connection that is given back later.
struct Home::EmptyMember {
  explicit EmptyMember(std::unique_ptr<Member> its_member) noexcept : member(std::move(its_member)) {}
  EmptyMember(const EmptyMember&) = delete;
  EmptyMember& operator=(const EmptyMember&) = delete;
  ~EmptyMember() { give_back(std::move(member), nullptr); }
  std::unique_ptr<Member> member;
};

// ---- places ----------------------------------------------------------------------------------------------------------

Connection& Home::Place::connection() const noexcept {
  return static_cast<Connection&>(*member_->lease);
}

void Home::Place::leave(pool::KeepAliveLimit* keep) noexcept {
  if (Home* const home = std::exchange(home_, nullptr)) home->leave(*member_, keep);
}

// For the queue: gives a caller a place, if there is room.
auto Home::take_locked() noexcept {
  return [this](StreamQueue::Caller& caller) {
    Member* const member = find_room_locked();
    if (member == nullptr) return false;
    take_place_locked(*member);
    static_cast<Entry&>(caller).member_ = member;
    return true;
  };
}

Home::Place Home::try_enter(pool::Endpoint& endpoint) {
  if (pool_.refusing()) return {};
  {
    const std::lock_guard lock(mutex_);
    if (!queue_.empty()) return {};
    if (Member* const member = find_room_locked()) {
      take_place_locked(*member);
      return {*this, *member, false};
    }
    if (!queue_.take_role()) return {};
  }
  Connecting connecting(*this);
  pool::Lease idle = pool_.try_acquire(endpoint, true);
  if (!idle) return {};
  if (static_cast<Connection&>(*idle).multiplexer() != nullptr) return adopt(std::move(idle), std::move(connecting));
  idle.release(pool::Reuse::unused());
  return {};
}

Home::Place Home::adopt(pool::Lease&& lease, Connecting&& connecting) {
  auto& connection = static_cast<Connection&>(*lease);
  if (const LoopRegistration* const registration = connection.loop_registration();
      registration != nullptr && !registration->is_of(loop_))
    connection.leave_event_loop();
  connection.multiplexer()->set_home(loop_);
  connection.multiplexer()->set_listener(weak_from_this());
  homes_.speaks_http1_.set(false);
  const bool fresh = lease.fresh();
  auto member = std::make_unique<Member>();
  member->multiplexer = connection.multiplexer().get();
  member->places = 1;
  member->lease = std::move(lease);
  Member& adopted = *member;
  const std::lock_guard lock(mutex_);
  members_.push_back(std::move(member));
  if (connecting) {
    connecting.detach();
    queue_.connected(take_locked());
  } else {
    queue_.room_came(take_locked(), [] {});
  }
  return {*this, adopted, fresh};
}

void Home::leave(Member& member, pool::KeepAliveLimit* keep) noexcept {
  std::unique_ptr<Member> empty;
  {
    const std::lock_guard lock(mutex_);
    --member.places;
    queue_.room_came(take_locked(), [&] { empty = take_empty_locked(); });
  }
  give_back(std::move(empty), keep);
}

// A connection without streams that may serve others, or that ends; null: none.
std::unique_ptr<Home::Member> Home::take_empty_locked() noexcept {
  for (auto each = members_.begin(); each != members_.end(); ++each) {
    const Member& member = **each;
    const bool waits = !member.multiplexer->ends() && member.multiplexer->most_streams() == 0;
    if (member.places != 0 || waits) continue;
    auto empty = std::move(*each);
    members_.erase(each);
    return empty;
  }
  return nullptr;
}

void Home::give_back(std::unique_ptr<Member> member, pool::KeepAliveLimit* keep) noexcept {
  if (!member) return;
  Multiplexer& multiplexer = *member->multiplexer;
  if (multiplexer.in_use_here()) [[unlikely]]  // a finalizer within one of its own calls
    return multiplexer.destroy_later(std::make_shared<EmptyMember>(std::move(member)));
  multiplexer.set_home(std::nullopt);
  member->lease.release(!multiplexer.ends() ? pool::Reuse::yes() : pool::Reuse::no(), keep);
}

bool Home::has_room(const Member& member) const noexcept {
  return member.places < member.multiplexer->most_streams() && !pool_.past_lifetime(member.lease.ref());
}

void Home::take_place_locked(Member& member) noexcept {
  ++member.places;
  pool_.note_used(member.lease.ref());
}

// The connection with the least streams that takes another; null: none.
Home::Member* Home::find_room_locked() noexcept {
  Member* best = nullptr;
  for (const auto& member : members_) {
    if (!has_room(*member)) continue;
    if (best != nullptr && best->places <= member->places) continue;
    if (!yields_locked(*member)) best = member.get();
  }
  return best;
}

// Whether callers elsewhere wait for the connection to be given back: of another endpoint; or of another home, if that must not share it.
// The caller that connects for this home is in the pool's queue, too.
bool Home::yields_locked(const Member& member) const noexcept {
  const pool::Endpoint& endpoint = *member.lease.ref().slot->endpoint.get();
  if (pool_.starves_others(endpoint)) return true;
  return member.multiplexer->runs_foreign_code() && pool_.awaits_return(endpoint, queue_.connecting() ? 1 : 0);
}

Home::Place Home::lend() noexcept {
  const std::lock_guard lock(mutex_);
  if (!queue_.empty()) return {};
  Member* const member = find_room_locked();
  if (member == nullptr || member->multiplexer->runs_foreign_code()) return {};
  take_place_locked(*member);
  return {*this, *member, false};
}

void Home::on_room_changed() noexcept {
  std::unique_ptr<Member> empty;
  {
    const std::lock_guard lock(mutex_);
    queue_.room_came(take_locked(), [&] { empty = take_empty_locked(); });
  }
  give_back(std::move(empty), nullptr);
}

bool Home::busy() noexcept {
  const std::lock_guard lock(mutex_);
  return !members_.empty() || !queue_.empty() || queue_.connecting();
}

// ---- the queue -------------------------------------------------------------------------------------------------------

// \param error of a dial, which the callers that are queued get too; null: none.
void Home::end_connecting(const Error* error) noexcept {
  const std::lock_guard lock(mutex_);
  if (error == nullptr) return queue_.end_connecting();
  queue_.fail_all([&](StreamQueue::Caller& caller) { static_cast<Entry&>(caller).error_ = copy_of(*error); });
}

void Home::note_http1() noexcept {
  homes_.speaks_http1_.set(true);
  const std::lock_guard lock(mutex_);
  queue_.release_all();
}

// ---- a caller --------------------------------------------------------------------------------------------------------

Home::Entry::Entry(Home& home, pool::Endpoint& endpoint, const Options& options, sync::Waker& waker) noexcept
    : home_(home),
      endpoint_(endpoint),
      options_(options),
      waker_(waker),
      began_(Clock::now()),
      pool_ends_(home.pool_.end_watches(), waker) {
  if (options_.limit != nullptr) limit_ends_.emplace(options_.limit->end_watches(), waker);
}

Home::Entry::~Entry() {
  leave();
}

// A caller that has queued once is served even while the pool drains.
std::optional<Error> Home::Entry::why_refused() {
  if (limit_ends_ && limit_ends_->look([this] { return options_.limit->closed(); }))
    return pool::LeaseLimit::closed_error();
  const bool refused = pool_ends_.look([this] { return begun_ ? home_.pool_.closed() : home_.pool_.refusing(); });
  return refused ? std::optional(pool::Pool::closed_error()) : std::nullopt;
}

bool Home::Entry::may_connect() const noexcept {
  return options_.limit == nullptr || home_.members_.size() < options_.limit->most();
}

std::optional<Result<Home::Admission>> Home::Entry::poll() {
  if (auto refused = why_refused()) return *std::move(refused);
  begun_ = true;
  for (;;) {
    switch (decide()) {
      case Next::served: {
        Admission admission;
        admission.place = take_place();
        return admission;
      }
      case Next::failed:
        return *std::exchange(error_, std::nullopt);  // NOLINT(bugprone-unchecked-optional-access)
      case Next::connect:
        connecting_ = Connecting(home_);
        return acquire();
      case Next::acquire:
        return acquire();
      case Next::wait:
        break;
    }
    if (auto late = give_up_if_late()) return *std::move(late);
    if (waits()) return std::nullopt;
  }
}

Home::Place Home::Entry::take_place() noexcept {
  if (acquisition_) acquisition_->withdraw();
  acquisition_.reset();
  const std::lock_guard lock(home_.mutex_);
  (void)home_.queue_.leave(*this, static_cast<bool>(connecting_));
  connecting_.detach();
  return {home_, *member_, false};
}

// What was handed over in this very moment goes back.
void Home::Entry::leave() {
  acquisition_.reset();
  bool served = false;
  {
    const std::lock_guard lock(home_.mutex_);
    served = home_.queue_.leave(*this, static_cast<bool>(connecting_));
    connecting_.detach();
  }
  if (served) home_.leave(*member_, options_.acquire.keep);
}

Home::Entry::Next Home::Entry::decide() {
  const std::lock_guard lock(home_.mutex_);
  return home_.queue_.decide(*this, static_cast<bool>(connecting_), home_.take_locked());
}

std::optional<Result<Home::Admission>> Home::Entry::acquire() {
  if (!acquisition_) {
    pool::AcquireOptions options = options_.acquire;
    const TimePoint now = Clock::now();
    if (options.pool_timeout) *options.pool_timeout -= std::min(*options.pool_timeout, now - began_);
    if (options.connect_timeout && dials_since_ != TimePoint::max())
      *options.connect_timeout -= std::min(*options.connect_timeout, now - dials_since_);
    acquisition_.emplace(home_.pool_, endpoint_, options, waker_);
  }
  auto leased = acquisition_->poll();
  if (!leased) {
    deadline_ = acquisition_->deadline();
    const bool dials = acquisition_->covered();
    if (connecting_) {
      const std::lock_guard lock(home_.mutex_);
      home_.queue_.set_dialing(dials);
    }
    if (dials || !connecting_) return std::nullopt;
    // At the limit. Room in another home wakes no caller of this one.
    deadline_ = std::min(deadline_, Clock::now() + look_again);
    Admission lent;
    lent.place = home_.homes_.lend(home_);
    if (!lent.place) return std::nullopt;
    acquisition_->withdraw();
    leave();
    return lent;
  }
  acquisition_.reset();
  bool served = false;
  {
    const std::lock_guard lock(home_.mutex_);
    served = home_.queue_.settle(*this);
  }
  Admission admission;
  if (served) {
    if (*leased) leased->value().release(pool::Reuse::unused(), options_.acquire.keep);
    admission.place = take_place();
    return admission;
  }
  if (!*leased) {
    Error error = std::move(*leased).error();
    if (connecting_) {
      connecting_.detach();
      home_.end_connecting(is_shared(error) ? &error : nullptr);
    }
    return error;
  }
  admission.lease = std::move(*leased).value();
  admission.connecting = std::move(connecting_);
  return admission;
}

// The end of a wait for a place, or for the turn to connect, that took too long.
std::optional<Error> Home::Entry::give_up_if_late() {
  const pool::AcquireOptions& options = options_.acquire;
  const std::lock_guard lock(home_.mutex_);
  if (state() != State::queued) return std::nullopt;
  const TimePoint now = Clock::now();
  const bool dials = home_.members_.empty() && home_.queue_.dialing();
  if (dials) dials_since_ = std::min(dials_since_, now);
  const OptionalDuration& timeout = dials ? options.connect_timeout : options.pool_timeout;
  const TimePoint due = timeout ? pool::later(dials ? dials_since_ : began_, *timeout) : TimePoint::max();
  deadline_ = std::min(due, options.deadline);
  if (now < deadline_) {
    const auto yields = [this](const auto& member) { return home_.has_room(*member); };
    if (std::any_of(home_.members_.begin(), home_.members_.end(), yields))
      deadline_ = std::min(deadline_, now + look_again);
    return std::nullopt;
  }
  (void)home_.queue_.leave(*this, false);
  if (options.deadline <= due) {
    return Error::make(ErrorCode::total_timeout, Phase::acquire,
                       "no connection to " + endpoint_.name() + " within the total timeout of the request");
  }
  if (dials) {
    return Error::make(ErrorCode::connect_timeout, Phase::connect,
                       "no connection to " + endpoint_.name() + " within the connect timeout");
  }
  return Error::make(ErrorCode::pool_timeout, Phase::acquire,
                     "no stream to " + endpoint_.name() + " became free within the pool timeout");
}

bool Home::Entry::waits() {
  const std::lock_guard lock(home_.mutex_);
  return state() == State::queued;
}

// ---- all homes -------------------------------------------------------------------------------------------------------

Homes::Homes(pool::Pool& pool) : pool_(pool), threads_(std::make_shared<Home>(pool, nullptr, *this)) {}

Home::Place Homes::lend(const Home& to) noexcept {
  const std::lock_guard lock(mutex_);
  Home::Place place;
  if (threads_.get() != &to) place = threads_->lend();
  for (const OfLoop& each : loops_) {
    if (place) break;
    if (each.home.get() != &to) place = each.home->lend();
  }
  return place;
}

Home& Homes::of_loop(const std::shared_ptr<const void>& loop) {
  const std::lock_guard lock(mutex_);
  for (const OfLoop& each : loops_)
    if (each.address == loop.get() && !each.loop.expired()) return *each.home;
  std::erase_if(loops_, [](const OfLoop& each) { return each.loop.expired() && !each.home->busy(); });
  loops_.push_back({loop, loop.get(), std::make_shared<Home>(pool_, loop.get(), *this)});
  return *loops_.back().home;
}

}  // namespace fastpool::connection
