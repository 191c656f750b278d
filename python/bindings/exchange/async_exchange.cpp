// _core.AsyncExchange: one request and its response, awaited.

#include "bindings/exchange/exchange.h"
#include "bindings/interpreter/convert.h"
#include "bindings/interpreter/errors.h"
#include "bindings/interpreter/gil.h"
#include "bindings/loop/awaited.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

/// As an asynchronous transport uses it. Each method begins one operation, whose outcome is to be awaited. One at a time.
class AsyncExchange final : public Awaited, public HandledExchange {
 public:
  AsyncExchange(nb::handle self, const LoopObject& loop, nb::object handle, client::Exchange&& exchange,
                const Timeouts& timeouts)
      : Awaited(self, loop.loop, timeouts), HandledExchange(std::move(handle), std::move(exchange)) {}
  // A finalizer never reads.
  ~AsyncExchange() override {
    forget();  // at the interpreter's exit too: who is parked there holds no lock of the core's
    exchange_.abandon();
    note_end();
  }

  /// \param body of `content`, which is kept as long as it is needed; nothing: streamed.
  void begin_request(nb::object content, std::optional<std::string_view> body) {
    content_ = std::move(content);
    if (body) {
      exchange_.begin_send(*body);
    } else {
      exchange_.begin_obtain();
    }
    begin();
  }
  /// Its outcome is False once the peer wants no more.
  nb::object write_piece(const LoopObject& loop, nb::handle data) {
    begin_in(loop);
    piece_.emplace(data);
    exchange_.begin_write(piece_->view());
    begin();
    return self();
  }
  nb::object finish_body(const LoopObject& loop) {
    begin_in(loop);
    exchange_.begin_finish();
    begin();
    return self();
  }
  /// Its outcome is bytes, b"" at the end of the body.
  nb::object read_body(const LoopObject& loop) {
    begin_in(loop);
    reading_ = true;
    exchange_.begin_read(pieces_);
    begin();
    return self();
  }
  /// \copydoc HandledExchange::take_arrived. None too while a task uses it.
  nb::object take_arrived() { return in_use() ? nb::none() : HandledExchange::take_arrived(); }
  void end() {
    if (pending()) {  // another task awaits it
      stop(Error::make(ErrorCode::read_failed, Phase::read_body, "the response was closed by another task"));
      return;
    }
    close_exchange();
  }

  /// Its reader reads no more.
  void drop() {
    if (in_use()) {  // by another task
      stop(Error::make(ErrorCode::read_failed, Phase::read_body, "the response was given up by another task"));
    } else {
      abandon();
    }
  }

 private:
  void begin_in(const LoopObject& loop) {
    if (in_use())
      raise(Error::make(ErrorCode::local_protocol, Phase::none, "another task is using this response"),
            handle_.error_factory);
    attend(loop);
    reading_ = false;
  }

  bool advance_exchange() noexcept override {
    auto result = exchange_.advance(*this);
    if (!result) return false;
    rest();
    busy_ = false;
    note_origin();
    if (!*result) {
      exchange_.abandon();
    } else if (reading_) {
      // The bytes lie in a buffer that the next operation reuses.
      if (!**result) pieces_.clear();
      try {
        bytes_ = joined_bytes(pieces_);
      } catch (nb::python_error&) {
        out_of_memory_ = true;
        exchange_.abandon();
      }
    }
    outcome_ = std::move(result);
    if (!exchange_.holds()) note_end();
    return true;
  }
  nb::object outcome() override {
    if (pending() || !outcome_)
      raise(Error::make(ErrorCode::local_protocol, Phase::none, "there is no result yet, or it was taken"),
            handle_.error_factory);
    const Result<bool> outcome = *std::move(outcome_);
    outcome_.reset();
    piece_.reset();  // its owner may want to change it
    if (!outcome) raise(outcome.error(), handle_.error_factory);
    if (out_of_memory_) {
      PyErr_NoMemory();
      throw nb::python_error();
    }
    if (!std::exchange(reading_, false)) return nb::bool_(*outcome);
    return std::exchange(bytes_, nb::object());
  }
  void give_up() noexcept override {
    exchange_.abandon();
    note_end();
    piece_.reset();
  }
  void fail(Error error) noexcept override { outcome_ = std::move(error); }

  nb::object content_;
  std::optional<BodyView> piece_;
  std::vector<std::string_view> pieces_;
  bool reading_ = false;
  bool out_of_memory_ = false;
  nb::object bytes_;
  std::optional<Result<bool>> outcome_;
};

}  // namespace

nb::object start(nb::handle self, nb::handle loop, nb::handle scheme, nb::handle host, nb::handle port,
                 nb::handle method, nb::handle target, nb::handle headers, nb::handle content, nb::handle timeouts,
                 nb::handle server_name) {
  refuse_inherited(nb::cast<const LoopObject&>(loop), nb::cast<Handle&>(self).error_factory);
  GivenRequest given = open_request(nb::cast<Handle&>(self), scheme, host, port, method, target, headers, content,
                                    timeouts, server_name);
  auto [object, exchange] = make_awaited<AsyncExchange>(nb::cast<const LoopObject&>(loop), nb::borrow(self),
                                                        std::move(given.exchange), given.timeouts);
  exchange->begin_request(nb::borrow(content), given.body);
  return std::move(object);
}

void bind_async_exchange(nb::module_& module) {
  using namespace nb::literals;
  auto type = bind_awaited<AsyncExchange>(module, "AsyncExchange");
  type.def("write", &AsyncExchange::write_piece, "loop"_a, "data"_a)
      .def("finish", &AsyncExchange::finish_body, "loop"_a)
      .def("read", &AsyncExchange::read_body, "loop"_a)
      .def("end", &AsyncExchange::end)
      .def("abandon", &AsyncExchange::drop);
  bind_response_parts(type);
}

}  // namespace fastpool::bindings
