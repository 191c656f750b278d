#include "driver/event_loop.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "driver/loop_operation.h"
#include "driver/loop_registration.h"
#include "net/descriptor.h"

namespace fastpool::driver {

namespace {

constexpr std::uint32_t generation_mask = 0x7fffffffU;  // no token of a registration is one of our own
constexpr std::uint32_t both_ways = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

std::uint64_t token_of(std::uint32_t index, std::uint32_t generation) noexcept {
  return std::uint64_t{generation} << 32U | index;
}

Error cannot_open() {
  return Error::make(ErrorCode::connect_failed, Phase::none,
                     "no descriptors for an event loop: " + std::generic_category().message(errno), errno);
}

}  // namespace

EventLoop::EventLoop(net::Epoll epoll, net::EventFd mail, net::TimerFd timer) noexcept
    : epoll_(std::move(epoll)), mail_bell_(std::move(mail)), timer_(std::move(timer)) {}

Result<std::shared_ptr<EventLoop>> EventLoop::create() {
  net::Epoll epoll = net::Epoll::open();
  if (!epoll.valid()) return cannot_open();
  net::EventFd bell = net::EventFd::open();
  if (!bell.valid()) return cannot_open();
  net::TimerFd timer = net::TimerFd::open();
  if (!timer.valid()) return cannot_open();
  for (const auto& [descriptor, token] :
       {std::pair{bell.descriptor(), mail_token}, std::pair{timer.descriptor(), timer_token}}) {
    if (const int error = epoll.add(descriptor, EPOLLIN | EPOLLET, token); error != 0) {
      errno = error;
      return cannot_open();
    }
  }
  return std::shared_ptr<EventLoop>(new EventLoop(std::move(epoll), std::move(bell), std::move(timer)));
}

EventLoop::~EventLoop() = default;

void EventLoop::cut_off() noexcept {
  if (epoch_ != net::fork_epoch()) return;
  const std::lock_guard lock(mutex_);
  closed_ = true;
  epoll_ = {};
  mail_bell_ = {};
  timer_ = {};
}

void EventLoop::close() {
  if (closed_ || epoch_ != net::fork_epoch()) return;
  cut_off();
  // Those who are queued go first: what the others give back is not for them.
  for (LoopOperation* const orphan : waiting_)
    orphan->leave_queues();
  while (!waiting_.empty()) {
    LoopOperation& orphan = *waiting_.back();
    orphan.forget();
    orphan.orphaned();
  }
}

// ---- registrations --------------------------------------------------------------------------------------------------

EventLoop::Registration* EventLoop::registration_of(connection::Connection& connection) {
  if (auto* const registration = static_cast<Registration*>(connection.loop_registration());
      registration != nullptr && registration->is_of(this)) [[likely]] {
    if (connection.multiplexer() && !registration->multiplexes()) [[unlikely]]
      multiplex(*registration, connection);
    return registration;
  }
  connection.leave_event_loop();
  auto registration = make_registration(connection, connection.channel().descriptor());
  Registration* const result = registration.get();
  connection.set_loop_registration(std::move(registration));
  return result;
}

std::unique_ptr<EventLoop::Registration> EventLoop::make_registration(connection::Connection& connection,
                                                                      int descriptor) {
  const std::lock_guard lock(mutex_);
  if (closed_) {
    errno = EBADF;
    return nullptr;
  }
  std::uint32_t index = 0;
  if (free_entries_.empty()) {
    index = static_cast<std::uint32_t>(entries_.size());
    entries_.emplace_back();
    free_entries_.reserve(entries_.size());  // a registration's end allocates nothing
  } else {
    index = free_entries_.back();
    free_entries_.pop_back();
  }
  Entry& entry = entries_[index];
  entry = Entry{.generation = entry.generation, .multiplexer = connection.multiplexer()};
  if (const int error = epoll_.add(descriptor, both_ways, token_of(index, entry.generation)); error != 0) {
    free_entries_.push_back(index);
    errno = error;
    return nullptr;
  }
  auto registration = std::make_unique<Registration>(shared_from_this(), descriptor, index, entry);
  if (connection.multiplexer()) registration->set_multiplexes();
  return registration;
}

// By a descriptor of its own: the set may have the connection's already, and it may outlive the connection.
std::unique_ptr<connection::LoopRegistration> EventLoop::registration_beside(connection::Connection& connection) {
  net::Descriptor own = net::duplicate(connection.channel().descriptor());
  if (!own.valid()) return nullptr;
  auto made = make_registration(connection, own.get());
  if (made) made->own(std::move(own));
  return made;
}

// The protocol of a connection that shook hands in this loop is known now. What came with the end of the handshake is not reported again.
void EventLoop::multiplex(Registration& registration, connection::Connection& connection) {
  {
    const std::lock_guard lock(mutex_);
    registration.set_multiplexes();
    registration.entry().multiplexer = connection.multiplexer();
  }
  (void)connection.multiplexer()->pump();
}

EventLoop::Registration::~Registration() {
  if (loop_->epoch_ != net::fork_epoch()) return;  // the set is the parent's
  const std::lock_guard lock(loop_->mutex_);
  if (!loop_->closed_) (void)loop_->epoll_.remove(descriptor_);
  entry_.waiting = nullptr;
  entry_.multiplexer.reset();
  entry_.generation = (entry_.generation + 1) & generation_mask;
  loop_->free_entries_.push_back(index_);
}

// ---- turns -----------------------------------------------------------------------------------------------------------

// While it lives, this thread is in a turn of the loop.
class EventLoop::Turn {
 public:
  explicit Turn(EventLoop& loop) noexcept : outer_(std::exchange(current, &loop)) {}
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() { current = outer_; }
  [[nodiscard]] static bool is_in(const EventLoop& loop) noexcept { return current == &loop; }

 private:
  inline static constinit thread_local EventLoop* current = nullptr;
  EventLoop* const outer_;
};

void EventLoop::turn() {
  if (closed_) return;
  const Turn turn(*this);
  std::array<epoll_event, 256> events;  // NOLINT(cppcoreguidelines-pro-type-member-init): written before it is read
  take_events(epoll_.wait(events, Duration::zero()));
  step_ready();
}

bool EventLoop::wait(OptionalDuration timeout) {
  const Turn turn(*this);
  std::array<epoll_event, 256> events;  // NOLINT(cppcoreguidelines-pro-type-member-init): written before it is read
  const auto taken = epoll_.wait_precisely(events, timeout);
  const bool any = !taken.empty();
  take_events(taken);
  step_ready();
  return any;
}

void EventLoop::step_ready() {
  do {
    while (LoopOperation* const operation = ready_.pop_front())
      operation->step();
    for (const auto& multiplexer : std::exchange(unsent_, {}))
      multiplexer->flush();
  } while (!ready_.empty());
}

void EventLoop::pump_ready() {
  using Until = connection::Multiplexer::ReadUntil;
  for (auto& [multiplexer, hung_up] : std::exchange(pumped_, {})) {
    // An end is reported only once.
    if (!multiplexer->pump(hung_up ? Until::blocked : Until::emptied)) continue;
    pumped_.push_back({std::move(multiplexer), hung_up});
    if (pumped_.size() == 1) call_again();
  }
}

void EventLoop::flush(const std::shared_ptr<connection::Multiplexer>& multiplexer) {
  const bool in_turn = Turn::is_in(*this);
  // The first stream waits for no others.
  if (!in_turn && multiplexer->open_streams() <= 1) return multiplexer->flush();
  if (std::find(unsent_.rbegin(), unsent_.rend(), multiplexer) != unsent_.rend()) return;
  unsent_.push_back(multiplexer);
  if (!in_turn && unsent_.size() == 1) call_again();
}

// Only notes what has happened: what an operation then does may end others, whose events must not be lost or misread.
void EventLoop::take_events(std::span<const epoll_event> events) {
  bool mail = false;
  bool due = false;
  {
    const std::lock_guard lock(mutex_);
    for (const epoll_event& event : events) {
      const std::uint64_t token = event.data.u64;
      if (token == mail_token) {
        mail = true;
        continue;
      }
      if (token == timer_token) {
        due = true;
        continue;
      }
      Entry& entry = entries_[static_cast<std::uint32_t>(token)];
      if (entry.generation != token >> 32U) continue;  // that registration is gone
      if ((event.events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) entry.readable = true;
      if ((event.events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) entry.writable = true;
      if ((event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) entry.hung_up = true;
      if (entry.waiting != nullptr) make_ready(*entry.waiting);
      if (entry.multiplexer != nullptr) pumped_.push_back({entry.multiplexer, entry.hung_up});
    }
  }
  if (mail) take_mail();  // before pump_ready(), which may ring the bell that this drains
  if (!pumped_.empty()) pump_ready();
  if (due) take_due();
}

void EventLoop::take_mail() {
  (void)mail_bell_.drain();
  const std::lock_guard lock(mutex_);
  for (LoopOperation* const operation : mail_) {
    operation->mailed_ = false;
    make_ready(*operation);
  }
  mail_.clear();
}

void EventLoop::take_due() {
  timer_.drain();
  alarm_ = TimePoint::max();
  const TimePoint now = Clock::now();
  while (Deadline* const due = deadlines_.take_due(now)) {
    LoopOperation& operation = static_cast<LoopOperation::Alarm*>(due)->operation;
    operation.expired_ = true;
    make_ready(operation);
  }
  ring_at(deadlines_.next());
}

void EventLoop::ring_at(TimePoint when) noexcept {
  if (when >= alarm_) return;  // what it rings for may be gone by then: it is set anew when it has rung
  alarm_ = when;
  timer_.set(when);
}

void EventLoop::post(LoopOperation& operation) noexcept {
  if (Turn::is_in(*this)) return make_ready(operation);
  const std::lock_guard lock(mutex_);
  if (closed_ || operation.mailed_) return;
  operation.mailed_ = true;
  mail_.push_back(&operation);
  if (mail_.size() == 1) mail_bell_.signal();
}

void EventLoop::call_again() noexcept {
  if (epoch_ != net::fork_epoch()) return;
  const std::lock_guard lock(mutex_);
  if (!closed_) mail_bell_.signal();
}

// ---- operations ------------------------------------------------------------------------------------------------------

void EventLoop::make_ready(LoopOperation& operation) noexcept {
  if (!operation.queued_) ready_.push_back(operation);
}

void EventLoop::enlist(LoopOperation& operation) {
  if (operation.place_ != 0) return;
  waiting_.push_back(&operation);
  operation.place_ = waiting_.size();
}

void EventLoop::strike_off(LoopOperation& operation) noexcept {
  if (operation.place_ == 0) return;
  LoopOperation* const last = waiting_.back();
  waiting_[operation.place_ - 1] = last;
  last->place_ = operation.place_;
  waiting_.pop_back();
  operation.place_ = 0;
  if (lingers_ && waiting_.empty()) call_again();
  deadlines_.remove(operation.alarm_);
  if (operation.queued_) ready_.remove(operation);
}

void EventLoop::drop_mail(LoopOperation& operation) noexcept {
  const std::lock_guard lock(mutex_);
  if (std::exchange(operation.mailed_, false)) std::erase(mail_, &operation);
}

void EventLoop::Queue::push_back(LoopOperation& operation) noexcept {
  operation.queued_ = true;
  operation.previous_ = last_;
  operation.next_ = nullptr;
  (last_ != nullptr ? last_->next_ : first_) = &operation;
  last_ = &operation;
}

void EventLoop::Queue::remove(LoopOperation& operation) noexcept {
  (operation.previous_ != nullptr ? operation.previous_->next_ : first_) = operation.next_;
  (operation.next_ != nullptr ? operation.next_->previous_ : last_) = operation.previous_;
  operation.queued_ = false;
}

LoopOperation* EventLoop::Queue::pop_front() noexcept {
  LoopOperation* const front = first_;
  if (front != nullptr) remove(*front);
  return front;
}

}  // namespace fastpool::driver
