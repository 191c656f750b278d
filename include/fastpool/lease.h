#pragma once

#include <memory>
#include <string_view>

#include <fastpool/call.h>
#include <fastpool/export.h>
#include <fastpool/message.h>
#include <fastpool/result.h>
#include <fastpool/stream.h>

namespace fastpool::inline v1 {

/// A connection of the caller's own for several requests, one after the other: for protocols that authenticate connections, or
/// that keep state in them. Made by Client::lease(), or by lease() in a loop. Destroying it gives the connection back, unless it
/// must not be reused. In a loop a request goes over it by Call::lease.
///
/// Move-only. One thread at a time; streams of a lease end before the lease does. A connection that the server closed between
/// two requests is replaced by a new one at the next request: ask alive() where that matters.
class FASTPOOL_EXPORT Lease {
 public:
  Lease(Lease&&) noexcept;
  Lease& operator=(Lease&&) noexcept;
  ~Lease();

  /// As Client::send(), on this connection. The URL's origin must be the lease's, else invalid_argument.
  [[nodiscard]] Result<Response> send(const Request& request, const Call& call = {});
  [[nodiscard]] Result<void> send(const Request& request, Response& reuse, const Call& call = {});
  /// As Client::open(), on this connection. stale_lease while a stream of this lease is open.
  [[nodiscard]] Result<Stream> open(const Request& request, const Call& call = {});

  /// Whether the connection is open and nothing unexpected has arrived on it: a look without waiting.
  [[nodiscard]] bool alive() const noexcept;
  /// The socket; -1 without a connection. \see Stream::native_handle()
  [[nodiscard]] int native_handle() const noexcept;
  /// Closes the connection instead of giving it back. The lease ends.
  void discard() noexcept;

  /// Internal.
  struct FASTPOOL_LOCAL State;
  explicit Lease(std::unique_ptr<State> state) noexcept;
  [[nodiscard]] const State* state() const noexcept { return state_.get(); }

 private:
  std::unique_ptr<State> state_;
};

}  // namespace fastpool::inline v1
