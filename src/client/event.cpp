#include <fastpool/event.h>

namespace fastpool::inline v1 {

std::string_view to_string(CloseReason reason) noexcept {
  switch (reason) {
    case CloseReason::not_reusable:
      return "not_reusable";
    case CloseReason::peer_closed:
      return "peer_closed";
    case CloseReason::idle_timeout:
      return "idle_timeout";
    case CloseReason::lifetime:
      return "lifetime";
    case CloseReason::limit:
      return "limit";
    case CloseReason::unused:
      return "unused";
    case CloseReason::pool_closed:
      return "pool_closed";
  }
  return "unknown";
}

std::string_view to_string(Event::Kind kind) noexcept {
  switch (kind) {
    case Event::Kind::request_begin:
      return "request_begin";
    case Event::Kind::request_end:
      return "request_end";
    case Event::Kind::retry:
      return "retry";
    case Event::Kind::dial_begin:
      return "dial_begin";
    case Event::Kind::dial_end:
      return "dial_end";
    case Event::Kind::close:
      return "close";
    case Event::Kind::leak:
      return "leak";
  }
  return "unknown";
}

}  // namespace fastpool::inline v1
