#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fastpool/result.h>
#include <fastpool/timeouts.h>

#include "h2/request_fields.h"
#include "h2/session.h"
#include "h2/stream.h"
#include "net/channel.h"
#include "net/epoll.h"
#include "sync/atomics.h"
#include "sync/left_work.h"
#include "sync/reader_role.h"
#include "sync/waker.h"

namespace fastpool::connection {

class MultiplexedWait;

/// What a caller waits for on a stream. Each is also reached when the response has ended or failed.
enum class Awaited : std::uint8_t {
  nothing,
  sent,       ///< part of the request's body has gone out, or the head of the response has come
  rest_sent,  ///< part of the request's body has gone out
  head,       ///< a head of the response, interim or final
  body        ///< a piece of the body
};

/// A request's stream on a Multiplexer, shared by its exchange and by the operation that waits for it. The multiplexer's mutex guards
/// it while it is open.
struct MultiplexedStream final : h2::Stream {
  Awaited awaited = Awaited::nothing;
  sync::Waker* waker = nullptr;                    ///< of the caller that waits
  std::size_t unsent_when_seen = 0;                ///< of the request's body, at the last look for Awaited::sent
  std::shared_ptr<MultiplexedStream> next_left{};  ///< \see sync::BasicLeftWork
};

/// Hears that the number of streams that a multiplexer may carry has changed, or that it ends. Called on any thread, with no lock held.
class RoomListener {
 public:
  RoomListener() = default;
  RoomListener(const RoomListener&) = delete;
  RoomListener& operator=(const RoomListener&) = delete;
  virtual ~RoomListener() = default;
  virtual void on_room_changed() noexcept = 0;
};

/// One HTTP/2 connection as its requests share it: the session, the output that the socket has not taken, and who waits for
/// which stream.
///
/// Any thread may call anything, and every call of pump() serves all streams: which thread calls it is the drivers' choice. An
/// event loop does when the socket is ready; among threads that wait, one at a time does (\see MultiplexedWait). The mutex is held for
/// I/O, which never waits. Wakes callers under the mutex, runs no code of theirs.
///
/// Shared by the connection and by those that pump it: after detach(), at the connection's end, every call does nothing.
class Multiplexer {
 public:
  /// \param channel established; outlives the multiplexer's detach(). Errors: out_of_memory.
  [[nodiscard]] static Result<std::shared_ptr<Multiplexer>> create(net::Channel& channel);
  Multiplexer(const Multiplexer&) = delete;
  Multiplexer& operator=(const Multiplexer&) = delete;
  ~Multiplexer();

  // ---- streams ----

  /// Opens a stream; flush() sends it. \param body the begin of the request's body, or all of it if `last`; stays until it is sent.
  /// \returns false if the connection takes no further request now: nothing was sent. Errors: as h2::Session::open().
  [[nodiscard]] Result<bool> open(MultiplexedStream& stream, const h2::RequestHead& head, std::string_view body,
                                  bool last);
  /// More of the body, of which nothing is unsent; flush() sends it.
  void write(MultiplexedStream& stream, std::string_view body, bool last) noexcept;
  /// Whether what is awaited has come; if not, `waker` is woken when it may have.
  [[nodiscard]] bool look(MultiplexedStream& stream, Awaited awaited, sync::Waker& waker) noexcept;
  /// Wakes the stream's waker no more.
  void forget_waker(MultiplexedStream& stream) noexcept;
  /// Interim heads that have come since the last call.
  [[nodiscard]] std::vector<ResponseHead> take_interim(MultiplexedStream& stream) noexcept;
  struct Taken {
    bool ended = false;    ///< that was the rest of the response
    bool failed = false;   ///< nothing follows it: `failure` of the stream says why
    bool closed = false;   ///< the connection knows the stream no more
    bool credits = false;  ///< flush() has to tell the peer that it may send more
  };
  /// Moves what has arrived of the body to `piece`, in place of what is there, and lets the peer send as much more.
  [[nodiscard]] Taken take_body(MultiplexedStream& stream, std::string& piece) noexcept;
  struct TakenHead {
    std::vector<ResponseHead> interim{};  ///< that have come since the last call
    bool has_head = false;                ///< the final one has come: the stream's is the caller's from now on
    bool over = false;                    ///< the response has ended, or failed
    Taken body{};                         ///< with `has_head`
  };
  /// Takes whatever has come of heads and, behind the final one, of the body: take_interim() and take_body() in one.
  [[nodiscard]] TakenHead take_head(MultiplexedStream& stream, std::string& piece) noexcept;
  struct Stand {
    bool sent = false;      ///< all of the request's body that was given has gone out, or no more of it is wanted
    bool has_head = false;  ///< of the response
    int status = 0;         ///< its, with `has_head`
    bool over = false;      ///< the response has ended, or failed
  };
  [[nodiscard]] Stand stand_of(const MultiplexedStream& stream) noexcept;
  /// \see h2::Session::stop_sending()
  void stop_sending(MultiplexedStream& stream) noexcept;
  /// Gives a stream up: resets it if it is open. Never waits for the mutex, so a finalizer may call it: a thread that holds the mutex does the
  /// rest.
  void give_up(std::shared_ptr<MultiplexedStream> stream) noexcept;

  // ---- bytes ----

  /// When a pump() stops reading, beside its limit.
  enum class ReadUntil : std::uint8_t {
    blocked,  ///< the socket has said that there is nothing more
    emptied   ///< or a read has got less than there was room for: the next bytes are reported anew, and so is an end
  };
  /// Reads what has arrived, at most 256 KiB, tells the streams, and sends. \returns whether there may be more to read.
  bool pump(ReadUntil until = ReadUntil::blocked) noexcept;
  /// Sends what the session has to send.
  void flush() noexcept;
  /// The same as pump(), unless another thread is in it, and whatever must be done once a second: a PING after a while of silence, the end
  /// of a connection whose peer does not answer one, or has said goodbye while there is no stream. \param now the time.
  void stand_by(TimePoint now) noexcept;

  // ---- the connection ----

  /// For a connection that carries no stream: looks for what has arrived. \returns whether it may carry another request.
  [[nodiscard]] bool check_alive() noexcept;
  /// How many streams it may carry at once: 0 also while the peer wants none.
  [[nodiscard]] std::uint32_t most_streams() const noexcept { return most_streams_.get(); }
  /// Whether it must not carry another stream, ever.
  [[nodiscard]] bool ends() const noexcept { return ends_.get(); }
  [[nodiscard]] std::uint32_t open_streams() noexcept;
  void set_listener(std::weak_ptr<RoomListener> listener) noexcept;
  /// Which event loop's home has the connection, by the loop's address; null: that of the threads; absent: none, it is its lease's
  /// holder's. Set only while no other thread has a stream.
  void set_home(std::optional<const void*> loop) noexcept { home_ = loop; }
  /// Whether what that loop does with the connection is the home's doing, or the holder's, and not that of a caller to which it was
  /// lent. Only such a loop looks at Connection::loop_registration() and sets it.
  [[nodiscard]] bool belongs_to(const void* loop) const noexcept { return !home_ || *home_ == loop; }
  /// Says that no request follows (GOAWAY, close_notify), without waiting, and uses the channel no more. Says nothing under an engine that
  /// runs code of the application, which is not for any thread.
  void say_goodbye() noexcept;
  /// Whether the channel runs code of the application: then requests of several threads must not share it.
  [[nodiscard]] bool runs_foreign_code() const noexcept { return locker_ != nullptr; }
  /// Whether this thread is within a call of this object: a finalizer may run there.
  [[nodiscard]] bool in_use_here() const noexcept;
  /// Destroys `object` after the call that this thread is in. Only with in_use_here().
  void destroy_later(std::shared_ptr<void> object) { destroyed_later_.push_back(std::move(object)); }
  /// The connection ends, and the channel with it: open streams fail.
  void detach() noexcept;

 private:
  friend class MultiplexedWait;
  using ReaderRole = sync::BasicReaderRole<sync::ThreadWaker, net::EventFd>;

  explicit Multiplexer(net::Channel& channel, std::unique_ptr<h2::Session> session) noexcept
      : locker_(channel.locker()), channel_(&channel), session_(std::move(session)) {}

  /// While it lives, this thread has the mutex. At its end it wakes callers and gives the mutex back; then it tells the listener, and
  /// does what threads have left here that could not have the mutex.
  class Section {
   public:
    explicit Section(Multiplexer& multiplexer) noexcept : Section(multiplexer, multiplexer.lock()) {}
    Section(Multiplexer& multiplexer, std::unique_lock<std::mutex> lock) noexcept;
    Section(const Section&) = delete;
    Section& operator=(const Section&) = delete;
    ~Section();

    // What BasicLeftWork asks of the mutex's holder.
    [[nodiscard]] bool try_enter() noexcept;
    void serve() noexcept;
    void leave() noexcept;

   private:
    Multiplexer& multiplexer_;
    const Multiplexer* const outer_;
    std::unique_lock<std::mutex> lock_;
  };
  [[nodiscard]] std::unique_lock<std::mutex> lock() noexcept;

  void read_locked(ReadUntil until = ReadUntil::blocked) noexcept;
  void send_locked() noexcept;
  [[nodiscard]] Taken take_body_locked(MultiplexedStream& stream, std::string& piece) noexcept;
  [[nodiscard]] bool look_locked(MultiplexedStream& stream, Awaited awaited, sync::Waker& waker) noexcept;
  void wake_locked() noexcept;
  void wake_if_reached_locked(const h2::Stream& changed) noexcept;
  void take_given_up_locked() noexcept;
  void note_room_locked() noexcept;
  void lose_locked(const net::IoResult& io) noexcept;
  void lose_locked(std::string_view how) noexcept;
  [[nodiscard]] bool sent_locked(const MultiplexedStream& stream) const noexcept;
  [[nodiscard]] bool reached_locked(const MultiplexedStream& stream, Awaited awaited) const noexcept;

  static constexpr std::size_t most_read = 256UL * 1024;  ///< by one pump()
  static constexpr std::uint32_t most_resets = 500;       ///< servers punish floods of them
  static constexpr Duration ping_after = std::chrono::seconds(30);
  static constexpr Duration ping_patience = std::chrono::seconds(20);

  const net::Channel::Locker locker_;
  sync::Observable<std::uint32_t> most_streams_{100};
  sync::Observable<bool> ends_{false};
  std::optional<const void*> home_;  // constant while more than one thread has streams

  // Guarded by mutex_.
  std::mutex mutex_;
  net::Channel* channel_;  ///< null: it has ended
  const std::unique_ptr<h2::Session> session_;
  std::string unsent_;    ///< output of the session
  std::size_t sent_ = 0;  ///< of it
  bool blocked_ = false;  ///< the socket has no room for it
  bool drained_ = true;   ///< the last read found nothing more
  bool lost_ = false;     ///< the channel is at its end, or broken
  bool room_changed_ = false;
  std::weak_ptr<RoomListener> listener_;
  TimePoint heard_at_ = TimePoint::min();  ///< when stand_by() has seen new bytes last
  TimePoint pinged_at_ = TimePoint::min();
  std::uint64_t received_ = 0;
  std::uint64_t received_when_seen_ = 0;
  ReaderRole reader_role_;  ///< of the threads that wait
  std::vector<std::shared_ptr<void>> destroyed_later_;

  sync::BasicLeftWork<MultiplexedStream, std::mutex> given_up_;
};

}  // namespace fastpool::connection
