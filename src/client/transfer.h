#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <fastpool/call.h>
#include <fastpool/lease.h>
#include <fastpool/message.h>
#include <fastpool/result.h>
#include <fastpool/stream.h>

#include "client/body_source.h"
#include "client/client_state.h"
#include "client/exchange.h"
#include "client/request_events.h"
#include "driver/cancellation.h"
#include "driver/driver.h"

namespace fastpool::client {

/// A request of the public interface on its way: the exchange, and what a Call and a Body ask for around it.
///
///   open:     obtain -> [expect] -> [pieces of a file or function] -> head       [in brackets: only where asked for]
///             bytes without Expect go out with the head, in one operation of the exchange
///   read:     one piece of the body, or its end
///   collect:  open, then every piece into one Response
///
/// Like the exchange it does no waiting: an operation is begun, then advanced by a driver until it is done. Blocking calls and
/// event loops take the same steps. One operation at a time, on one thread at a time; cancel() on any. Not movable: what is
/// under way refers to it. The Request and the Call outlive the operations that need them (open, collect).
class Transfer {
 public:
  /// \param call its timeouts and limits; outlives the transfer.
  Transfer(std::shared_ptr<Client::State> client, const Call& call) noexcept
      : client_(std::move(client)), call_(call) {}
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;
  ~Transfer();

  /// Encodes the request. \param lease to send it on; absent: one of the pool's. Errors: invalid_argument, local_protocol,
  /// stale_lease. \param request outlives the opening.
  [[nodiscard]] Result<void> prepare(const Request& request, std::optional<pool::LeaseRef> lease = {});

  // ---- operations ----

  /// Sends the request and reads the head; for a body that is written, only gets the connection and the server's word.
  void begin_open();
  /// Only gets a connection; \see take_lease().
  void begin_lease();
  /// One piece of a body that is written.
  void begin_write(std::string_view piece);
  void begin_finish();
  /// The next piece of the response's body: piece(), empty at the end.
  void begin_read();
  /// Sends the request and reads the whole response into `response`, whose strings keep their capacity.
  void begin_collect(Response& response);
  /// Goes on. Returns the result of the operation, once; nothing: the driver is waiting. Of begin_write(): false if more is
  /// not wanted.
  [[nodiscard]] std::optional<Result<bool>> advance(driver::Driver& driver);
  /// Takes an operation to its end on this thread.
  [[nodiscard]] Result<bool> run();

  // ---- what there is ----

  [[nodiscard]] std::string_view piece() const noexcept { return piece_; }
  /// After begin_lease(), once: the lease. Errors: cancelled.
  [[nodiscard]] Result<Lease> take_lease();
  [[nodiscard]] const ResponseHead& head() const noexcept { return exchange_ ? exchange_->head() : no_head(); }
  [[nodiscard]] const HeaderList& trailers() noexcept { return exchange_->trailers(); }
  [[nodiscard]] const StreamInfo& info();
  [[nodiscard]] bool switched() const noexcept { return exchange_ && exchange_->switched(); }
  [[nodiscard]] int descriptor() const noexcept { return exchange_ ? exchange_->descriptor() : -1; }
  [[nodiscard]] std::uint64_t bytes_sent() const noexcept { return exchange_ ? exchange_->bytes_sent() : 0; }
  [[nodiscard]] const Call& call() const noexcept { return call_; }
  [[nodiscard]] TimePoint deadline() const noexcept { return deadline_; }
  [[nodiscard]] Client::State& client() const noexcept { return *client_; }

  /// Ends it without a result: the connection is closed, unless all of the body has arrived.
  void abandon() noexcept {
    if (exchange_) exchange_->abandon();
  }

  /// Lets cancel() end the transfer; else only the call's stop token does. Before the first operation.
  void enable_cancel() { cancellable_ = true; }
  /// Notes addresses and timings for info(). Before the first operation.
  void enable_info() noexcept { wants_info_ = true; }
  /// Wants a lease alone, which is no request and has no events. Before prepare().
  void enable_lease() noexcept { wants_lease_ = true; }
  [[nodiscard]] driver::Cancellation& cancellation() noexcept { return cancellation_; }
  /// Whether cancel() or the call's stop token can end it. After prepare().
  [[nodiscard]] bool may_cancel() const noexcept { return cancellable_ || call_.stop.stop_possible(); }

 private:
  enum class Goal : std::uint8_t { none, lease, open, write, finish, read, collect };
  /// The operation of the exchange that is under way.
  enum class Step : std::uint8_t { none, obtain, expect, piece, head, written, body };
  struct Cancel {
    Transfer& transfer;
    void operator()() const noexcept { transfer.cancellation_.cancel(); }
  };

  [[nodiscard]] static const ResponseHead& no_head() noexcept;
  void report_end(const Error* error) noexcept;
  [[nodiscard]] std::optional<Result<bool>> take_steps(driver::Driver& driver);
  [[nodiscard]] std::optional<Result<bool>> after_step(bool result);
  [[nodiscard]] std::optional<Result<bool>> begin_body();
  [[nodiscard]] std::optional<Result<bool>> next_piece();
  [[nodiscard]] std::optional<Result<bool>> body_again();
  [[nodiscard]] std::optional<Result<bool>> head_arrived();
  void begin_part();
  [[nodiscard]] std::optional<Result<bool>> take_pieces(bool more);
  [[nodiscard]] std::optional<Result<bool>> count(std::uint64_t bytes);
  [[nodiscard]] Error fail(Error error);
  [[nodiscard]] Error end(Error error);
  void keep_pieces();
  void give_buffer_back() noexcept;
  void finish_response();

  const std::shared_ptr<Client::State> client_;
  const Call& call_;
  TimePoint began_{};
  TimePoint deadline_ = TimePoint::max();
  const Request* request_ = nullptr;  // until the body is sent
  std::optional<BodySource> source_;
  RequestEvents events_;
  driver::Cancellation cancellation_;
  std::optional<Exchange> exchange_;                // after what it refers to
  std::optional<std::stop_callback<Cancel>> stop_;  // after what it calls
  bool cancellable_ = false;
  bool wants_info_ = false;
  bool wants_lease_ = false;
  bool expects_ = false;
  StreamInfo info_;
  TimePoint head_at_{};  // with wants_info_

  Goal goal_ = Goal::none;
  Step step_ = Step::none;
  std::optional<Result<bool>> early_;  // the result of an operation that needs no step
  Response* response_ = nullptr;
  std::uint64_t received_ = 0;
  bool sized_ = false;  // the response's string has its room

  // What read() gives out, one piece at a time. The views look into `held_`, into `copy_`, or into the exchange.
  std::vector<std::string_view> pieces_;
  std::size_t next_ = 0;
  std::string_view piece_;
  std::vector<char> held_;  // the thread's receive buffer, taken over while views look into it
  std::string copy_;
};

}  // namespace fastpool::client
