#pragma once

/// \file
/// What coroutine.h and asio.h are made of: an operation of a loop that its holder can end. Not for direct use.

#include <memory>
#include <string_view>

#include <fastpool/call.h>
#include <fastpool/client.h>
#include <fastpool/export.h>
#include <fastpool/lease.h>
#include <fastpool/loop.h>
#include <fastpool/message.h>
#include <fastpool/result.h>
#include <fastpool/stream.h>

namespace fastpool::inline v1::detail {

/// Called once, from a turn of the loop, when the operation has its result. It may destroy the operation.
struct Completion {
  void (*done)(void* context) noexcept = nullptr;
  void* context = nullptr;
  bool cancels = false;  ///< Operation::cancel() may be called: it costs locks
};

/// A request under way in a loop. Move-only; destroying it ends the request without a call. One thread, the loop's.
class FASTPOOL_EXPORT Operation {
 public:
  Operation() noexcept;
  Operation(Operation&&) noexcept;
  Operation& operator=(Operation&&) noexcept;
  ~Operation();

  [[nodiscard]] static Operation send(Loop& loop, Client& client, Request&& request, Call&& call,
                                      Completion completion);
  [[nodiscard]] static Operation lease(Loop& loop, Client& client, std::string_view url, Call&& call,
                                       Completion completion);
  [[nodiscard]] static Operation open(Loop& loop, Client& client, Request&& request, Call&& call,
                                      Completion completion);

  /// Whether it is under way: its completion will be called. Else the result is there already.
  [[nodiscard]] bool under_way() const noexcept { return under_way_; }
  /// Ends it with `cancelled`, where Completion::cancels says so. Any thread, before its completion has been called.
  void cancel() noexcept;
  /// The result, once it has completed; one of these, as it was begun.
  [[nodiscard]] Result<Response> take_response();
  [[nodiscard]] Result<Stream> take_stream();
  [[nodiscard]] Result<Lease> take_lease();

  /// Internal.
  struct FASTPOOL_LOCAL State;

 private:
  Operation(std::unique_ptr<State> state, bool under_way) noexcept;
  std::unique_ptr<State> state_;
  bool under_way_ = false;
};

// Operations of a stream, which owns them: the results are taken after the completion. Each returns whether it is under way: its
// completion will be called; else the result is there already.
[[nodiscard]] FASTPOOL_EXPORT bool begin_read(Loop& loop, Stream& stream, Completion completion);
[[nodiscard]] FASTPOOL_EXPORT bool begin_write(Loop& loop, Stream& stream, std::string_view piece,
                                               Completion completion);
[[nodiscard]] FASTPOOL_EXPORT bool begin_finish(Loop& loop, Stream& stream, Completion completion);
[[nodiscard]] FASTPOOL_EXPORT Result<std::string_view> take_piece(Stream& stream);
[[nodiscard]] FASTPOOL_EXPORT Result<bool> take_written(Stream& stream);
[[nodiscard]] FASTPOOL_EXPORT Result<void> take_finished(Stream& stream);
/// Ends the operation that is under way, without a call. The request ends with it.
FASTPOOL_EXPORT void end_operation(Stream& stream) noexcept;

}  // namespace fastpool::inline v1::detail
