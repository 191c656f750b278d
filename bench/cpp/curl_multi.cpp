#include "cpp/curl_multi.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

namespace fastpool::bench {
namespace {

template <typename Value>
void set(CURLM* handle, CURLMoption option, Value value) {
  if (const CURLMcode result = curl_multi_setopt(handle, option, value); result != CURLM_OK) {
    fail(curl_multi_strerror(result));
  }
}

}  // namespace

CurlMulti::CurlMulti(const Task& task)
    : Looping(task.width), epoll_(::epoll_create1(EPOLL_CLOEXEC)), multi_(curl_multi_init()) {
  set(multi_.get(), CURLMOPT_SOCKETFUNCTION, &on_socket);
  set(multi_.get(), CURLMOPT_SOCKETDATA, this);
  set(multi_.get(), CURLMOPT_TIMERFUNCTION, &on_timer);
  set(multi_.get(), CURLMOPT_TIMERDATA, this);
  set(multi_.get(), CURLMOPT_MAXCONNECTS, static_cast<long>(2 * task.width));
  for (std::size_t index = 0; index < task.width; ++index) {
    transfers_.push_back(std::make_unique<CurlTransfer>(task, index));
    CURL* const easy = transfers_.back()->handle();
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, &on_close);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, this);
    begin(*transfers_.back());
  }
}

CurlMulti::~CurlMulti() {
  for (const auto& transfer : transfers_) {
    curl_multi_remove_handle(multi_.get(), transfer->handle());
  }
  transfers_.clear();
  multi_.reset();  // closes its connections by on_close()
  ::close(epoll_);
}

void CurlMulti::run_until(Clock::time_point end) {
  std::array<epoll_event, 256> events{};
  for (auto now = Clock::now(); now < end; now = Clock::now()) {
    const auto until = timer_ ? std::clamp(*timer_, now, end) : end;
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(until - now);
    const int count = ::epoll_wait(epoll_, events.data(), events.size(), static_cast<int>(wait.count()));
    if (count < 0 && errno != EINTR) fail("epoll_wait failed");
    for (const epoll_event& event : std::span(events).first(static_cast<std::size_t>(std::max(0, count)))) {
      const curl_socket_t socket = event.data.fd;
      Interest& interest = interests_[static_cast<std::size_t>(socket)];
      if (interest.wanted == 0) {  // an idle connection
        watch(socket, 0);
        continue;
      }
      act(socket, ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 ? CURL_CSELECT_IN : 0) |
                      ((event.events & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
                      ((event.events & EPOLLERR) != 0 ? CURL_CSELECT_ERR : 0));
    }
    if (timer_ && *timer_ <= Clock::now()) {
      timer_.reset();
      act(CURL_SOCKET_TIMEOUT, 0);
    }
    finish_done();
  }
}

int CurlMulti::on_socket(CURL* /*easy*/, curl_socket_t socket, int wanted, void* self, void* /*of_socket*/) {
  auto& own = *static_cast<CurlMulti*>(self);
  const auto index = static_cast<std::size_t>(socket);
  if (own.interests_.size() <= index) own.interests_.resize(2 * index + 1);
  const std::uint32_t events = ((wanted & CURL_POLL_IN) != 0 ? std::uint32_t{EPOLLIN} : 0U) |
                               ((wanted & CURL_POLL_OUT) != 0 ? std::uint32_t{EPOLLOUT} : 0U);
  own.interests_[index].wanted = events;
  if (events != 0) own.watch(socket, events);
  return 0;
}

int CurlMulti::on_timer(CURLM* /*multi*/, long milliseconds, void* self) {
  auto& timer = static_cast<CurlMulti*>(self)->timer_;
  timer.reset();
  if (milliseconds >= 0) timer = Clock::now() + std::chrono::milliseconds(milliseconds);
  return 0;
}

int CurlMulti::on_close(void* self, curl_socket_t socket) {
  auto& own = *static_cast<CurlMulti*>(self);
  const auto index = static_cast<std::size_t>(socket);
  if (index < own.interests_.size()) own.interests_[index] = {};  // close() takes it out of the set
  return ::close(socket);
}

void CurlMulti::watch(curl_socket_t socket, std::uint32_t events) {
  std::uint32_t& registered = interests_[static_cast<std::size_t>(socket)].registered;
  if (registered == events) return;
  epoll_event event{};
  event.events = events;
  event.data.fd = socket;
  const int change = registered == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
  if (::epoll_ctl(epoll_, change, socket, &event) != 0) fail("epoll_ctl failed");
  registered = events;
}

void CurlMulti::act(curl_socket_t socket, int events) {
  int running = 0;
  if (const CURLMcode result = curl_multi_socket_action(multi_.get(), socket, events, &running); result != CURLM_OK) {
    fail(curl_multi_strerror(result));
  }
}

void CurlMulti::begin(CurlTransfer& transfer) {
  transfer.clear();
  if (const CURLMcode result = curl_multi_add_handle(multi_.get(), transfer.handle()); result != CURLM_OK) {
    fail(curl_multi_strerror(result));
  }
}

void CurlMulti::finish_done() {
  int left = 0;
  while (const CURLMsg* const message = curl_multi_info_read(multi_.get(), &left)) {
    CURL* const easy = message->easy_handle;
    const CURLcode result = message->data.result;
    CurlTransfer* transfer = nullptr;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    curl_multi_remove_handle(multi_.get(), easy);
    transfer->check_answer(result);
    answered(transfer->index());
    begin(*transfer);
  }
}

}  // namespace fastpool::bench
