#include <algorithm>
#include <chrono>
#include <limits>
#include <new>

#include <fastpool/server_sent_events.h>

#include "client/errors.h"

namespace fastpool::inline v1 {

namespace {

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

bool is_line_end(char byte) noexcept {
  return byte == '\n' || byte == '\r';
}

bool is_digit(char byte) noexcept {
  return byte >= '0' && byte <= '9';
}

}  // namespace

void EventScanner::feed(std::string_view piece) noexcept {
  if (!input_.empty() && failure_ == Failure::none) failure_ = Failure::fed_early;
  input_ = piece;
}

Result<std::optional<ServerSentEvent>> EventScanner::next() noexcept {
  if (failure_ != Failure::none) return failed(failure_);
  try {
    if (ended_) {
      data_.clear();
      event_.clear();
      ended_ = false;
    }
    while (take_line()) {
      if (line_.empty()) {
        if (auto event = end_event()) return event;
      } else if (!take_field(line_)) {
        return failed(Failure::too_large);
      }
    }
    if (begun_.size() > most_) return failed(Failure::too_large);
    return std::optional<ServerSentEvent>();
  } catch (const std::bad_alloc&) {
    return failed(Failure::no_memory);
  }
}

// Sets `line_` to the next line, without its end. False: the rest of the piece is in `begun_`.
bool EventScanner::take_line() {
  if (line_taken_) {
    begun_.clear();
    line_taken_ = false;
  }
  if (input_.empty()) return false;
  if (after_cr_) {
    after_cr_ = false;
    if (input_.front() == '\n') input_.remove_prefix(1);
  }
  const auto end = std::find_if(input_.begin(), input_.end(), is_line_end);
  const std::string_view part = input_.substr(0, static_cast<std::size_t>(end - input_.begin()));
  if (end == input_.end()) {
    // One byte more than is allowed is enough to refuse the line.
    begun_.append(part.substr(0, most_ - std::min(most_, begun_.size()) + 1));
    input_ = {};
    return false;
  }
  after_cr_ = *end == '\r';
  if (begun_.empty()) {
    line_ = part;
  } else {
    begun_.append(part);
    line_ = begun_;
    line_taken_ = true;
  }
  input_.remove_prefix(part.size() + 1);
  if (first_line_ && line_.starts_with(byte_order_mark)) line_.remove_prefix(byte_order_mark.size());
  first_line_ = false;
  return true;
}

// Returns false for a line or an event that is too large.
bool EventScanner::take_field(std::string_view line) {
  if (line.size() > most_) return false;
  const std::size_t colon = line.find(':');
  const std::string_view name = line.substr(0, colon);
  std::string_view value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (name == "data") {
    if (data_.size() + value.size() > most_) return false;
    data_.append(value).push_back('\n');
  } else if (name == "event") {
    event_ = value;
  } else if (name == "id") {
    if (value.find('\0') == std::string_view::npos) id_ = value;
  } else if (name == "retry") {
    set_retry(value);
  }
  return true;
}

// An empty line: the event, if there is data for one.
std::optional<ServerSentEvent> EventScanner::end_event() {
  last_id_ = id_;
  if (data_.empty()) {
    event_.clear();
    return std::nullopt;
  }
  ServerSentEvent event;
  event.event = event_.empty() ? std::string_view("message") : event_;
  event.data = std::string_view(data_).substr(0, data_.size() - 1);
  event.id = last_id_;
  if (retry_set_) event.retry = retry_;
  retry_set_ = false;
  ended_ = true;
  return event;
}

void EventScanner::set_retry(std::string_view digits) noexcept {
  if (digits.empty() || !std::all_of(digits.begin(), digits.end(), is_digit)) return;
  constexpr std::int64_t most = std::chrono::floor<std::chrono::milliseconds>(Duration::max()).count();
  std::int64_t milliseconds = 0;
  bool beyond = false;
  for (const char digit : digits) {
    beyond = beyond || milliseconds > (most - (digit - '0')) / 10;
    if (!beyond) milliseconds = milliseconds * 10 + (digit - '0');
  }
  retry_ = beyond ? Duration::max() : Duration(std::chrono::milliseconds(milliseconds));
  retry_set_ = true;
}

Error EventScanner::failed(Failure failure) noexcept {
  failure_ = failure;
  input_ = {};
  try {
    switch (failure) {
      case Failure::too_large:
        return Error::make(ErrorCode::body_too_large, Phase::read_body,
                           "a line or an event of the event stream has more than " + std::to_string(most_) + " bytes");
      case Failure::fed_early:
        return Error::make(
            ErrorCode::invalid_argument, Phase::none,
            "a piece was fed before the events of the last one were taken: call next() until it returns nothing");
      case Failure::none:
      case Failure::no_memory:
        break;
    }
  } catch (const std::bad_alloc&) {  // below
  }
  return client::no_memory();
}

}  // namespace fastpool::inline v1
