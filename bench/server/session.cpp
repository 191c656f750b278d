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

Session::Session(int descriptor, SslHandle ssl, std::string_view answer, Counters& counters)
    : descriptor_(descriptor), ssl_(std::move(ssl)), answer_(answer), counters_(counters), greeted_(ssl_ == nullptr) {
  ++counters_.connections;
}

Session::~Session() {
  ::close(descriptor_);
}

bool Session::serve() {
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
    if (outcome.request->target == "/stats") {
      if (!send(stats_answer())) {
        return false;
      }
    } else {
      ++counters_.requests;
      if (!send(answer_)) {
        return false;
      }
    }
    served += outcome.request->size;
  }
  filled_ -= served;
  if (served > 0 && filled_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + served, filled_);
  }
  return true;
}

bool Session::send(std::string_view bytes) {
  // Answers are far smaller than a socket's send buffer, so a short write means a broken peer and ends the session.
  if (ssl_ != nullptr) {
    std::size_t count = 0;
    return SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &count) == 1 && count == bytes.size();
  }
  return ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
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
