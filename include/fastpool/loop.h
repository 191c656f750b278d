#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include <fastpool/call.h>
#include <fastpool/client.h>
#include <fastpool/export.h>
#include <fastpool/lease.h>
#include <fastpool/message.h>
#include <fastpool/result.h>
#include <fastpool/stream.h>
#include <fastpool/timeouts.h>

namespace fastpool::inline v1 {

/// The pool's side of an event loop: one descriptor to watch, and what to do when it is readable. It has no thread and makes
/// none.
///
///     auto loop = fastpool::Loop::make();
///     fastpool::send(*loop, client, {.url = url}, {}, [](fastpool::Result<fastpool::Response> response) { ... });
///     // epoll, libuv, Qt, GLib, Asio: when loop->descriptor() is readable, call loop->turn(). Without a loop of one's own:
///     while (loop->busy()) loop->wait();
///
/// Any number of loops share a client, its connections and its limits. A connection that a loop used last stays in that loop's
/// epoll set until another loop or thread takes it.
///
/// Used by one thread at a time, which runs the functions of its operations; requests of a loop are begun on that thread. Only
/// Call::stop and Stream::cancel() may be used from others. Move-only.
class FASTPOOL_EXPORT Loop {
 public:
  /// Opens the descriptors. Errors: connect_failed with the errno value, such as EMFILE.
  [[nodiscard]] static Result<Loop> make();
  Loop(Loop&&) noexcept;
  Loop& operator=(Loop&&) noexcept;
  /// As close().
  ~Loop();

  /// Readable while turn() has something to do. For poll(2) and its like; level-triggered or edge-triggered. Open until close().
  [[nodiscard]] int descriptor() const noexcept;
  /// Does what there is to do, without waiting: takes each operation as far as it goes, and calls the functions of those that
  /// have ended. May be entered again from such a function.
  void turn();
  /// Waits until there is something to do, at most `timeout`, and then turn(). Returns whether there was.
  bool wait(OptionalDuration timeout = {});
  /// Whether operations are under way.
  [[nodiscard]] bool busy() const noexcept;

  /// Closes the descriptors, whose watching has to end before, and ends the operations that are under way: their functions are
  /// called with `cancelled`, and those of later ones at once. Idempotent.
  void close();

  /// Internal.
  struct FASTPOOL_LOCAL State;
  [[nodiscard]] State& state() const noexcept { return *state_; }

 private:
  explicit Loop(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

// Each of these begins an operation and returns at once; `done` is called once, from a turn of the loop, or, if the loop has been
// closed, from within the function itself. The errors are those of the blocking functions of the same names. An exception of `done` ends the program.

/// Sends the request and reads the whole response; \see Client::send(). The body's functions (Body::pull) run in the loop's
/// turns and must not block.
FASTPOOL_EXPORT void send(Loop& loop, Client& client, Request request, Call call,
                          std::function<void(Result<Response>)> done);
/// Sends the request and reads the head; \see Client::open(). The stream may also be used blocking, between operations.
FASTPOOL_EXPORT void open(Loop& loop, Client& client, Request request, Call call,
                          std::function<void(Result<Stream>)> done);

/// Leases a live connection to the URL's origin; \see Client::lease(). Call::lease sends requests on it.
FASTPOOL_EXPORT void lease(Loop& loop, Client& client, std::string_view url, Call call,
                           std::function<void(Result<Lease>)> done);

// Of a stream: one operation at a time. Destroying the stream ends the operation without a call of `done`, and so do these
// functions when one is under way.

/// \see Stream::read(). The view lasts until the next operation of the stream.
FASTPOOL_EXPORT void read(Loop& loop, Stream& stream, std::function<void(Result<std::string_view>)> done);
/// \see Stream::write(). The piece lasts until `done` is called.
FASTPOOL_EXPORT void write(Loop& loop, Stream& stream, std::string_view piece, std::function<void(Result<bool>)> done);
/// \see Stream::finish().
FASTPOOL_EXPORT void finish(Loop& loop, Stream& stream, std::function<void(Result<void>)> done);

}  // namespace fastpool::inline v1
