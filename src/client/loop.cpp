#include <fastpool/loop.h>

#include <algorithm>
#include <optional>
#include <utility>

#include <poll.h>

#include <fastpool/detail/operation.h>

#include "client/loop_state.h"
#include "client/loop_task.h"
#include "client/stream_state.h"
#include "net/socket.h"

namespace fastpool::inline v1 {

// ---- the loop --------------------------------------------------------------------------------------------------------

Result<Loop> Loop::make() {
  auto opened = driver::EventLoop::create();
  if (!opened) return std::move(opened).error();
  return Loop(std::make_unique<State>(std::move(opened).value()));
}

Loop::Loop(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Loop::Loop(Loop&&) noexcept = default;
Loop& Loop::operator=(Loop&&) noexcept = default;
Loop::~Loop() = default;

int Loop::descriptor() const noexcept {
  return state_->loop->descriptor();
}
void Loop::turn() {
  const auto kept = state_->loop;  // an operation's function may destroy this object
  kept->turn();
}
bool Loop::wait(OptionalDuration timeout) {
  if (!timeout && !busy()) return false;
  const auto kept = state_->loop;  // an operation's function may destroy this object
  if (!kept->closed() && !kept->inherited()) [[likely]]
    return kept->wait(timeout);
  constexpr Duration least{1};  // zero would be for ever
  const bool ready = net::wait_until_ready(descriptor(), POLLIN, timeout ? std::max(*timeout, least) : Duration{}) != 0;
  turn();
  return ready;
}
void Loop::close() {
  const auto kept = state_->loop;
  kept->close();
}
bool Loop::busy() const noexcept {
  return state_->loop->busy();
}

namespace detail {

// ---- requests --------------------------------------------------------------------------------------------------------

/// A request and what drives it. `task` ends first.
struct Operation::State {
  /// \param given of open(): what the caller gets in the end. Null: the transfer is the operation's own.
  State(const std::shared_ptr<driver::EventLoop>& loop, const std::shared_ptr<Client::State>& client, Request&& asked,
        Call&& call, Completion completion, std::unique_ptr<Stream::State> given = nullptr)
      : request(std::move(asked)),
        stream(std::move(given)),
        transfer(stream ? stream->transfer : own.emplace(client, std::move(call)).transfer),
        task(loop, transfer, completion) {
    if (completion.cancels) transfer.enable_cancel();
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() = default;

  template <typename Begin>
  [[nodiscard]] bool start(Begin begin) {
    if (auto prepared = transfer.prepare(request); !prepared) return task.start_failed(std::move(prepared).error());
    begin();
    return task.start();
  }

  /// A transfer and the call that it observes.
  struct Own {
    Own(const std::shared_ptr<Client::State>& client, Call&& given) noexcept
        : call(std::move(given)), transfer(client, call) {}
    const Call call;
    client::Transfer transfer;
  };

  Request request;
  Response response;
  std::optional<Own> own;
  std::unique_ptr<Stream::State> stream;
  client::Transfer& transfer;
  client::LoopTask task;
};

Operation::Operation() noexcept = default;
Operation::Operation(std::unique_ptr<State> state, bool under_way) noexcept
    : state_(std::move(state)), under_way_(under_way) {}
Operation::Operation(Operation&&) noexcept = default;
Operation& Operation::operator=(Operation&&) noexcept = default;
Operation::~Operation() = default;

Operation Operation::send(Loop& loop, Client& client, Request&& request, Call&& call, Completion completion) {
  auto state =
      std::make_unique<State>(loop.state().loop, client.state(), std::move(request), std::move(call), completion);
  State& begun = *state;
  const bool under_way = begun.start([&begun] { begun.transfer.begin_collect(begun.response); });
  return {std::move(state), under_way};
}

Operation Operation::open(Loop& loop, Client& client, Request&& request, Call&& call, Completion completion) {
  auto stream = std::make_unique<Stream::State>(client.state(), std::move(call));
  auto state = std::make_unique<State>(loop.state().loop, client.state(), std::move(request), Call{}, completion,
                                       std::move(stream));
  State& begun = *state;
  begun.transfer.enable_info();
  const bool under_way = begun.start([&begun] { begun.transfer.begin_open(); });
  return {std::move(state), under_way};
}

Operation Operation::lease(Loop& loop, Client& client, std::string_view url, Call&& call, Completion completion) {
  auto state = std::make_unique<State>(loop.state().loop, client.state(), Request{.url = std::string(url)},
                                       std::move(call), completion);
  State& begun = *state;
  begun.transfer.enable_lease();
  const bool under_way = begun.start([&begun] { begun.transfer.begin_lease(); });
  return {std::move(state), under_way};
}

void Operation::cancel() noexcept {
  if (state_ && state_->transfer.may_cancel()) state_->transfer.cancellation().cancel();
}

Result<Response> Operation::take_response() {
  auto result = state_->task.take_result();
  if (!result) return std::move(result).error();
  return std::move(state_->response);
}

Result<Stream> Operation::take_stream() {
  auto result = state_->task.take_result();
  if (!result) return std::move(result).error();
  state_->task.part();
  return Stream(std::move(state_->stream));
}

Result<Lease> Operation::take_lease() {
  auto result = state_->task.take_result();
  if (!result) return std::move(result).error();
  return state_->transfer.take_lease();
}

// ---- operations of a stream ------------------------------------------------------------------------------------------

namespace {

client::LoopTask& new_task(Loop& loop, Stream& stream, Completion completion) {
  Stream::State& state = stream.state();
  state.task.reset();
  state.task = std::make_unique<client::LoopTask>(loop.state().loop, state.transfer, completion);
  return *state.task;
}

Result<bool> take_result(Stream& stream) {
  auto result = stream.state().task->take_result();
  stream.state().task.reset();
  return result;
}

}  // namespace

bool begin_read(Loop& loop, Stream& stream, Completion completion) {
  client::LoopTask& task = new_task(loop, stream, completion);
  stream.state().transfer.begin_read();
  return task.start();
}

bool begin_write(Loop& loop, Stream& stream, std::string_view piece, Completion completion) {
  client::LoopTask& task = new_task(loop, stream, completion);
  stream.state().transfer.begin_write(piece);
  return task.start();
}

bool begin_finish(Loop& loop, Stream& stream, Completion completion) {
  client::LoopTask& task = new_task(loop, stream, completion);
  stream.state().transfer.begin_finish();
  return task.start();
}

Result<std::string_view> take_piece(Stream& stream) {
  auto result = take_result(stream);
  if (!result) return std::move(result).error();
  return stream.state().transfer.piece();
}

Result<bool> take_written(Stream& stream) {
  return take_result(stream);
}

Result<void> take_finished(Stream& stream) {
  auto result = take_result(stream);
  if (!result) return std::move(result).error();
  return {};
}

void end_operation(Stream& stream) noexcept {
  stream.state().task.reset();
  stream.state().transfer.abandon();
}

}  // namespace detail

// ---- with a function of the caller's ---------------------------------------------------------------------------------

namespace {

/// An operation that owns itself until its function has been called.
template <typename Value, Result<Value> (detail::Operation::*take)()>
struct SelfOwned {
  std::function<void(Result<Value>)> done;
  detail::Operation operation{};

  /// \param begin begins it with a completion.
  template <typename Begin>
  static void start(std::function<void(Result<Value>)> done, Begin begin) {
    SelfOwned& self = *new SelfOwned{std::move(done)};  // NOLINT(cppcoreguidelines-owning-memory): end() deletes it
    self.operation = begin(detail::Completion{&end, &self});
    if (!self.operation.under_way()) end(&self);
  }
  static void end(void* self) noexcept {
    const std::unique_ptr<SelfOwned> owned(static_cast<SelfOwned*>(self));
    auto result = (owned->operation.*take)();
    owned->operation = {};
    owned->done(std::move(result));
  }
};

/// A stream's operation whose function the stream's state owns.
template <typename Value, Result<Value> (*take)(Stream&), typename Begin>
void with_function(Stream& stream, std::function<void(Result<Value>)> done, Begin begin) {
  struct Context {
    Stream& stream;
    std::function<void(Result<Value>)> done;
  };
  auto context = std::make_shared<Context>(Context{stream, std::move(done)});
  const auto end = [](void* self) noexcept {
    Context& ended = *static_cast<Context*>(self);
    const auto kept = std::exchange(ended.stream.state().function, nullptr);
    ended.done(take(ended.stream));
  };
  stream.state().function = context;
  if (!begin(detail::Completion{end, context.get()})) end(context.get());
}

}  // namespace

void send(Loop& loop, Client& client, Request request, Call call, std::function<void(Result<Response>)> done) {
  SelfOwned<Response, &detail::Operation::take_response>::start(std::move(done), [&](detail::Completion completion) {
    return detail::Operation::send(loop, client, std::move(request), std::move(call), completion);
  });
}

void open(Loop& loop, Client& client, Request request, Call call, std::function<void(Result<Stream>)> done) {
  SelfOwned<Stream, &detail::Operation::take_stream>::start(std::move(done), [&](detail::Completion completion) {
    return detail::Operation::open(loop, client, std::move(request), std::move(call), completion);
  });
}

void lease(Loop& loop, Client& client, std::string_view url, Call call, std::function<void(Result<Lease>)> done) {
  SelfOwned<Lease, &detail::Operation::take_lease>::start(std::move(done), [&](detail::Completion completion) {
    return detail::Operation::lease(loop, client, url, std::move(call), completion);
  });
}

void read(Loop& loop, Stream& stream, std::function<void(Result<std::string_view>)> done) {
  with_function<std::string_view, &detail::take_piece>(stream, std::move(done), [&](detail::Completion completion) {
    return detail::begin_read(loop, stream, completion);
  });
}

void write(Loop& loop, Stream& stream, std::string_view piece, std::function<void(Result<bool>)> done) {
  with_function<bool, &detail::take_written>(stream, std::move(done), [&](detail::Completion completion) {
    return detail::begin_write(loop, stream, piece, completion);
  });
}

void finish(Loop& loop, Stream& stream, std::function<void(Result<void>)> done) {
  with_function<void, &detail::take_finished>(stream, std::move(done), [&](detail::Completion completion) {
    return detail::begin_finish(loop, stream, completion);
  });
}

}  // namespace fastpool::inline v1
