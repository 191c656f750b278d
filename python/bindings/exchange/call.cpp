// Whole requests on a pool, without a transport: Pool.request() and _core.Call, its awaited form.

#include "bindings/exchange/call.h"

#include "bindings/exchange/response.h"
#include "bindings/interpreter/bytes_builder.h"
#include "bindings/interpreter/convert.h"
#include "bindings/interpreter/errors.h"
#include "bindings/interpreter/gil.h"
#include "bindings/interpreter/replaced_sockets.h"
#include "bindings/loop/awaited.h"
#include "bindings/pool/lease_calls.h"
#include "client/expected_size.h"
#include "client/headers.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

/// A request made ready, and whether its lease is its own.
struct Opened {
  client::Exchange exchange;
  bool own_lease;
};

Opened open_call(Pool& self, nb::handle connection, nb::handle method, nb::handle target, nb::handle headers,
                 std::size_t body_size) {
  refuse_replaced_sockets();
  client::Core& core = self.core();
  HeaderText text;
  std::vector<Header> given = headers_from(headers, text);
  const std::string_view verb = text.view(method);
  const std::string_view path = text.view(target);

  client::EndpointUse there;
  const pool::LeaseRef lease = lease_of(core, connection);
  if (lease) {
    there = client::EndpointUse(*lease.slot->endpoint.get());  // the lease keeps it
  } else {
    if (PyUnicode_Find(connection.ptr(), nb::str("://").ptr(), 0, PyUnicode_GET_LENGTH(connection.ptr()), 1) < 0) {
      raise(Error::make(ErrorCode::stale_lease, Phase::acquire,
                        "no such lease: the connection id was returned already, or is not one (an endpoint is a URL)"),
            self.error_factory);
    }
    there = self.endpoint(connection);
  }
  // A pool's own endpoints go through no proxy: their names are origins.
  const client::CompletedHeaders completed(there->name(), verb, std::move(given), body_size);
  const client::RequestView view{verb, path, completed.headers()};
  auto opened =
      lease ? client::Exchange::open_on(core, lease, view) : client::Exchange::open(core, std::move(there), view);
  if (!opened) raise(opened.error(), self.error_factory);
  ++self.requests;

  return {std::move(opened).value(), !lease};
}

constexpr std::size_t most_expected = std::size_t{256} << 20U;

std::size_t expected_size(const client::Exchange& exchange) {
  return client::expected_size(exchange.head(), most_expected);
}

nb::object response_of(client::Exchange& exchange, nb::object body) {
  return nb::cast(new Response(std::move(exchange.head()), std::move(body)), nb::rv_policy::take_ownership);
}

/// As `await` uses it: sends, reads all, gives the response.
class Call final : public Awaited {
 public:
  Call(nb::handle self, const LoopObject& loop, nb::object pool, Opened&& opened, const Timeouts& timeouts,
       nb::handle content)
      : Awaited(self, loop.loop, timeouts),
        pool_object_(std::move(pool)),
        pool_(nb::cast<Pool&>(pool_object_)),
        exchange_(std::move(opened.exchange)),
        origin_(opened.own_lease ? pool_.origins() : nullptr),
        content_(content) {}
  ~Call() override {
    forget();  // at the interpreter's exit too: who is parked there holds no lock of the core's
    exchange_.abandon();
  }

  void begin_request() {
    exchange_.begin_send(content_.view());
    begin();
  }

 private:
  bool advance_exchange() noexcept override {
    try {
      return go_on();
    } catch (nb::python_error&) {
      out_of_memory_ = true;
      give_up();
      return true;
    }
  }
  bool go_on() {
    for (int unwaited = 0;; ++unwaited) {
      if (unwaited == most_unwaited && put_off()) return false;
      auto step = exchange_.advance(*this);
      if (!step) return false;
      rest();
      origin_.note(exchange_.connection_id());
      if (!*step) {
        error_ = std::move(*step).error();
        give_up();
        return true;
      }
      if (std::exchange(reading_, true)) {
        if (!**step) {
          if (builder_) whole_ = builder_->finish();
          if (!whole_.is_valid()) whole_ = nb::bytes("", 0);
          response_ = response_of(exchange_, std::move(whole_));
          return true;
        }
        // A body that comes whole is copied once.
        if (!builder_ && pieces_.size() == 1 && exchange_.body_arrived()) {
          whole_ = bytes_of(pieces_.front());
        } else {
          if (!builder_) builder_.emplace(nullptr);
          if (!builder_->append(pieces_, expected_size(exchange_))) throw nb::python_error();
        }
      }
      exchange_.begin_read(pieces_);
    }
  }
  nb::object outcome() override {
    if (out_of_memory_) {
      PyErr_NoMemory();
      throw nb::python_error();
    }
    if (error_) raise(*error_, pool_.error_factory);
    if (pending() || !response_.is_valid())
      raise(Error::make(ErrorCode::local_protocol, Phase::none, "there is no response yet, or it was taken"),
            pool_.error_factory);
    return std::exchange(response_, nb::object());
  }
  void give_up() noexcept override {
    exchange_.abandon();
    origin_.forget();
  }
  void fail(Error error) noexcept override { error_ = std::move(error); }

  const nb::object pool_object_;
  Pool& pool_;
  client::Exchange exchange_;
  LeaseOrigin origin_;
  const BodyView content_;
  std::vector<std::string_view> pieces_;
  bool reading_ = false;
  bool out_of_memory_ = false;
  nb::object whole_;
  std::optional<BytesBuilder> builder_;
  std::optional<Error> error_;
  nb::object response_;
};

/// A bare lease, awaited: its id, or None if the pool timeout came first.
class LeaseCall final : public Awaited {
 public:
  LeaseCall(nb::handle self, const LoopObject& loop, nb::object pool, client::EndpointUse endpoint,
            const Timeouts& timeouts)
      : Awaited(self, loop.loop, timeouts),
        pool_object_(std::move(pool)),
        pool_(nb::cast<Pool&>(pool_object_)),
        core_(pool_.core()),
        endpoint_(std::move(endpoint)),
        limit_(endpoint_.limit(core_.origin_limits())) {
    begin();
  }
  ~LeaseCall() override {
    if (epoch_ != net::fork_epoch()) {  // queue and lease are the parent's
      leak();
      endpoint_.detach();
      place_.detach();
      return;
    }
    forget();
    release_lease();
  }

 private:
  bool advance_exchange() noexcept override {
    if (limit_ != nullptr && !place_) {
      auto entered = enter(*limit_, core_.pool());
      if (!entered) return false;
      if (!*entered) {
        outcome_ = std::move(*entered).error();
        return true;
      }
      place_ = std::move(*entered).value();
    }
    outcome_ = lease(core_.pool(), *endpoint_);
    if (outcome_) rest();
    return outcome_.has_value();
  }
  nb::object outcome() override {
    if (!outcome_)
      raise(Error::make(ErrorCode::local_protocol, Phase::none, "there is no lease yet, or it was taken"),
            pool_.error_factory);
    const Result<pool::LeaseRef> outcome = *std::move(outcome_);
    outcome_.reset();
    if (!outcome) {
      if (outcome.error().code == ErrorCode::pool_timeout) return nb::none();
      raise(outcome.error(), pool_.error_factory);
    }
    place_.keep_with(core_.pool(), *outcome);
    pool_.set_object(pool_object_.ptr());
    return nb::steal(give_out(pool_, core_, *outcome));
  }
  /// Returns a lease that the caller has not taken to the pool.
  void release_lease() noexcept {
    if (outcome_ && outcome_->ok()) core_.pool().release(outcome_->value(), pool::Reuse::unused());
    place_.leave();
  }
  void give_up() noexcept override {
    release_lease();
    outcome_.reset();
  }
  void fail(Error error) noexcept override { outcome_ = std::move(error); }

  const nb::object pool_object_;
  Pool& pool_;
  client::Core& core_;
  client::EndpointUse endpoint_;
  pool::LeaseLimit* const limit_;  // of the origin; null: none
  pool::LeaseLimit::Place place_;
  const unsigned epoch_ = net::fork_epoch();
  std::optional<Result<pool::LeaseRef>> outcome_;
};

}  // namespace

namespace {

/// One try of request(); null if other code closed the library's descriptors and nothing was sent, unless it is the second.
nb::object try_request(Pool& self, nb::handle connection, nb::handle method, nb::handle target, nb::handle headers,
                       nb::handle content, nb::handle timeout, bool again) {
  const client::CallOptions base{timeouts_from(timeout), {}, 0};
  const BodyView body(content);
  Opened opened = open_call(self, connection, method, target, headers, body.view().size());
  client::Exchange& exchange = opened.exchange;
  LeaseOrigin origin(opened.own_lease ? self.origins() : nullptr);
  std::optional<Error> error;
  bool raised = false;
  bool out_of_memory = false;
  nb::object bytes;
  {
    std::optional<BytesBuilder> builder;
    {
      WithoutGil without_gil;
      builder.emplace(&without_gil);
      client::CallOptions options = base;
      options.interrupt = without_gil.interrupt();
      std::vector<std::string_view> pieces;
      auto step = exchange.obtain(options);
      if (step) origin.note(exchange.connection_id());
      if (step) step = exchange.send(body.view(), options);
      std::size_t expected = 0;
      if (step) {
        origin.note(exchange.connection_id());  // after a retry another one
        expected = expected_size(exchange);
      }
      while (step && !out_of_memory) {
        auto more = exchange.read(pieces, options);
        if (!more) {
          step = std::move(more).error();
        } else if (!*more) {
          break;
        } else {
          out_of_memory = !builder->append(pieces, expected);
        }
      }
      if (!step) error = std::move(step).error();
      raised = without_gil.raised();
    }
    if (raised || out_of_memory) throw nb::python_error();
    if (error && !again && opened.own_lease && error->code == ErrorCode::forked && error->bytes_sent == 0)
      return nb::object();
    if (error) raise(*error, self.error_factory);
    bytes = builder->finish();
  }
  return response_of(exchange, std::move(bytes));
}

}  // namespace

nb::object request(Pool& self, nb::handle connection, nb::handle method, nb::handle target, nb::handle headers,
                   nb::handle content, nb::handle timeout) {
  nb::object response = try_request(self, connection, method, target, headers, content, timeout, false);
  if (!response.is_valid()) response = try_request(self, connection, method, target, headers, content, timeout, true);
  return response;
}

nb::object start_request(nb::handle self, nb::handle loop, nb::handle connection, nb::handle method, nb::handle target,
                         nb::handle headers, nb::handle content, nb::handle timeout) {
  Pool& pool = nb::cast<Pool&>(self);
  refuse_inherited(nb::cast<const LoopObject&>(loop), pool.error_factory);
  const Timeouts timeouts = timeouts_from(timeout);
  std::size_t size = 0;
  {
    const BodyView body(content);
    size = body.view().size();
  }
  auto [object, call] =
      make_awaited<Call>(nb::cast<const LoopObject&>(loop), nb::borrow(self),
                         open_call(pool, connection, method, target, headers, size), timeouts, content);
  call->begin_request();
  return std::move(object);
}

nb::object start_lease(nb::handle self, nb::handle loop, nb::handle endpoint, nb::handle timeout) {
  refuse_replaced_sockets();
  Pool& pool = nb::cast<Pool&>(self);
  refuse_inherited(nb::cast<const LoopObject&>(loop), pool.error_factory);
  Timeouts timeouts;
  timeouts.pool = duration_from(timeout, "timeout");
  static_cast<void>(pool.core());
  return make_awaited<LeaseCall>(nb::cast<const LoopObject&>(loop), nb::borrow(self), pool.endpoint(endpoint), timeouts)
      .first;
}

void bind_call(nb::module_& module) {
  bind_awaited<Call>(module, "Call");
  bind_awaited<LeaseCall>(module, "LeaseCall");
}

}  // namespace fastpool::bindings
