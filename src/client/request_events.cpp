#include "client/request_events.h"

#include <string>

#include <fastpool/event.h>

#include "net/descriptor.h"

namespace fastpool::client {

// What the events of one request say alike. The request itself may be gone before its end.
struct RequestEvents::Reported {
  Core& core;
  std::uint64_t number;
  TimePoint began;
  unsigned epoch;
  std::string origin;
  std::string method;
  std::string target;
  std::function<void(const Error&)> on_retry{};

  [[nodiscard]] Event event(Event::Kind kind) const noexcept {
    Event event;
    event.kind = kind;
    event.origin = origin;
    event.request = number;
    event.method = method;
    event.target = target;
    return event;
  }
};

void RequestEvents::Deleter::operator()(Reported* reported) const noexcept {
  delete reported;
}

void RequestEvents::begin(Core& core, const Origin& origin, const Request& request, std::string_view target) {
  if (!core.reports()) [[likely]]
    return;
  request_.reset(new Reported{core, core.next_request_number(), Clock::now(), net::fork_epoch(), origin.to_string(),
                              request.method, std::string(target)});
  request_->on_retry = [reported = request_.get()](const Error& error) {
    Event event = reported->event(Event::Kind::retry);
    event.error = &error;
    reported->core.report(event);
  };
  core.report(request_->event(Event::Kind::request_begin));
}

const std::function<void(const Error&)>* RequestEvents::on_retry() const noexcept {
  return request_ ? &request_->on_retry : nullptr;
}

void RequestEvents::end(int status, std::uint32_t connection, const Error* error) noexcept {
  const auto request = std::move(request_);
  if (!request || request->epoch != net::fork_epoch()) return;
  Event event = request->event(Event::Kind::request_end);
  event.status = status;
  event.connection = connection;
  event.took = Clock::now() - request->began;
  event.error = error;
  request->core.report(event);
}

}  // namespace fastpool::client
