#include "server/session.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "server/request_reader.h"

namespace fastpool::bench {
namespace {

std::uint64_t microseconds(const timeval& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(time.tv_usec);
}

}  // namespace

Session::Session(int descriptor, SslHandle ssl, const Answers& answers, Pacer& pacer, Counters& counters)
    : descriptor_(descriptor),
      ssl_(std::move(ssl)),
      answers_(answers),
      pacer_(pacer),
      counters_(counters),
      greeted_(ssl_ == nullptr) {
  if (ssl_ != nullptr) {
    SSL_set_mode(ssl_.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  }
  ++counters_.connections;
}

Session::~Session() {
  ::close(descriptor_);
}

bool Session::serve() {
  if (blocked()) {
    return send_rest();
  }
  if (!greeted_) {
    const int result = SSL_accept(ssl_.get());
    if (result != 1) {
      return SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ;
    }
    greeted_ = true;
    ++counters_.handshakes;
    if (SSL_has_pending(ssl_.get()) == 0) {
      return true;
    }
  }
  while (true) {
    switch (receive()) {
      case Received::Closed:
        return false;
      case Received::Nothing:
        return true;
      case Received::Bytes:
        break;
    }
    if (!answer_requests()) {
      return false;
    }
    // The set is level-triggered: bytes still in the socket report themselves. Bytes that OpenSSL has read ahead do
    // not, so those are taken now.
    if (ssl_ == nullptr || SSL_has_pending(ssl_.get()) == 0) {
      return true;
    }
  }
}

Session::Received Session::receive() {
  char* const free_space = buffer_.data() + filled_;
  const std::size_t room = buffer_.size() - filled_;
  if (room == 0) {
    return Received::Closed;
  }
  if (ssl_ != nullptr) {
    std::size_t count = 0;
    const int result = SSL_read_ex(ssl_.get(), free_space, room, &count);
    if (result != 1) {
      return SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ ? Received::Nothing : Received::Closed;
    }
    filled_ += count;
    return Received::Bytes;
  }
  const ssize_t count = ::recv(descriptor_, free_space, room, 0);
  if (count > 0) {
    filled_ += static_cast<std::size_t>(count);
    return Received::Bytes;
  }
  return count < 0 && (errno == EAGAIN || errno == EINTR) ? Received::Nothing : Received::Closed;
}

bool Session::answer_requests() {
  std::size_t served = 0;
  while (served < filled_) {
    const ReadOutcome outcome = read_request({buffer_.data() + served, filled_ - served});
    if (outcome.refused) {
      return false;
    }
    if (!outcome.request) {
      break;
    }
    if (!answer(outcome.request->target)) {
      return false;
    }
    served += outcome.request->size;
  }
  filled_ -= served;
  if (served > 0 && filled_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + served, filled_);
  }
  return true;
}

bool Session::answer(std::string_view target) {
  if (target == "/stats") {
    return send_whole(stats_answer());
  }
  // No client here pipelines.
  if (blocked()) {
    return false;
  }
  ++counters_.requests;
  if (target == "/large") {
    return send(answers_.large);
  }
  if (target == "/burst") {
    return send(answers_.burst);
  }
  if (target == "/paced") {
    return begin_paced();
  }
  return send(answers_.whole);
}

bool Session::begin_paced() {
  // The next request comes after the end of the stream.
  if (serial_ != 0) {
    return false;
  }
  serial_ = counters_.requests;
  events_left_ = answers_.pace.events;
  const auto first = Pacer::Clock::now() + answers_.pace.interval;
  pacer_.add({.when = first, .descriptor = descriptor_, .serial = serial_});
  return send(answers_.stream_head);
}

bool Session::go_on(const Pacer::Due& due) {
  if (due.serial != serial_) {
    return true;
  }
  const std::string event = stamped_event(answers_, Pacer::Clock::now());
  if (--events_left_ > 0) {
    pacer_.add({.when = due.when + answers_.pace.interval, .descriptor = descriptor_, .serial = serial_});
    return send_whole(event);
  }
  serial_ = 0;
  return send_whole(event + answers_.stream_end);
}

bool Session::send(std::string_view answer) {
  rest_ = answer;
  return send_rest();
}

bool Session::send_whole(std::string_view bytes) {
  return write_some(bytes) == bytes.size();
}

bool Session::send_rest() {
  while (!rest_.empty()) {
    const auto count = write_some(rest_);
    if (!count) {
      return false;
    }
    if (*count == 0) {
      break;
    }
    rest_.remove_prefix(*count);
  }
  return true;
}

std::optional<std::size_t> Session::write_some(std::string_view bytes) {
  if (ssl_ != nullptr) {
    std::size_t count = 0;
    const int result = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &count);
    if (result != 1 && SSL_get_error(ssl_.get(), result) != SSL_ERROR_WANT_WRITE) {
      return std::nullopt;
    }
    return count;
  }
  const ssize_t count = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (count < 0 && errno != EAGAIN) {
    return std::nullopt;
  }
  return count < 0 ? 0 : static_cast<std::size_t>(count);
}

std::string Session::stats_answer() const {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const std::string body = "{\"connections\":" + std::to_string(counters_.connections) +
                           ",\"handshakes\":" + std::to_string(counters_.handshakes) +
                           ",\"requests\":" + std::to_string(counters_.requests) + ",\"cpu_us\":" +
                           std::to_string(microseconds(usage.ru_utime) + microseconds(usage.ru_stime)) + "}";
  return "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: " + std::to_string(body.size()) +
         "\r\n\r\n" + body;
}

}  // namespace fastpool::bench
