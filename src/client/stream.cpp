#include <fastpool/stream.h>

#include <new>

#include "client/errors.h"
#include "client/second_try.h"
#include "client/stream_state.h"

namespace fastpool::inline v1 {

Stream::Stream(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&&) noexcept = default;
Stream::~Stream() = default;

Result<bool> Stream::write(std::string_view piece) {
  state_->transfer.begin_write(piece);
  return state_->transfer.run();
}

Result<void> Stream::finish() {
  state_->transfer.begin_finish();
  auto finished = state_->transfer.run();
  if (!finished) return std::move(finished).error();
  return {};
}

const ResponseHead& Stream::head() const noexcept {
  return state_->transfer.head();
}

Result<std::string_view> Stream::read() {
  state_->transfer.begin_read();
  auto read = state_->transfer.run();
  if (!read) return std::move(read).error();
  return state_->transfer.piece();
}

const HeaderList& Stream::trailers() const noexcept {
  return state_->transfer.trailers();
}
const StreamInfo& Stream::info() const noexcept {
  return state_->transfer.info();
}
bool Stream::switched() const noexcept {
  return state_->transfer.switched();
}
int Stream::native_handle() const noexcept {
  return state_->transfer.descriptor();
}
void Stream::cancel() noexcept {
  state_->transfer.cancellation().cancel();
}

}  // namespace fastpool::inline v1

namespace fastpool::client {

Result<Stream> open_stream(const std::shared_ptr<Client::State>& client, const Request& request, const Call& call,
                           std::optional<pool::LeaseRef> lease) {
  return with_second_try(request.body.kind() != Body::Kind::pull, [&]() -> Result<Stream> {
    try {
      auto state = std::make_unique<Stream::State>(client, call);
      state->transfer.enable_info();
      if (auto prepared = state->transfer.prepare(request, lease); !prepared) return std::move(prepared).error();
      state->transfer.begin_open();
      if (auto opened = state->transfer.run(); !opened) return std::move(opened).error();
      return Stream(std::move(state));
    } catch (const std::bad_alloc&) {
      return no_memory();
    }
  });
}

Result<void> send_request(const std::shared_ptr<Client::State>& client, const Request& request, Response& response,
                          const Call& call, std::optional<pool::LeaseRef> lease) {
  return with_second_try(request.body.kind() != Body::Kind::pull, [&]() -> Result<void> {
    try {
      Transfer transfer(client, call);
      if (auto prepared = transfer.prepare(request, lease); !prepared) return std::move(prepared).error();
      transfer.begin_collect(response);
      if (auto sent = transfer.run(); !sent) return std::move(sent).error();
      return {};
    } catch (const std::bad_alloc&) {
      return no_memory();
    }
  });
}

}  // namespace fastpool::client
