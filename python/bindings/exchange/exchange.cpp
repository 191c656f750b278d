// _core.Exchange: one request and its response, blocking.

#include "bindings/exchange/exchange.h"

#include <algorithm>
#include <array>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>

#include "bindings/interpreter/convert.h"
#include "bindings/interpreter/errors.h"
#include "bindings/interpreter/gil.h"
#include "bindings/tls/context_session.h"
#include "client/receive_buffer.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

// As Python's socket module gives it.
nb::object address_from(const net::SocketAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.family() == AF_INET) {
    const auto* ip = reinterpret_cast<const sockaddr_in*>(address.data());
    return nb::make_tuple(::inet_ntop(AF_INET, &ip->sin_addr, text.data(), text.size()), address.port());
  }
  if (address.family() == AF_INET6) {
    const auto* ip = reinterpret_cast<const sockaddr_in6*>(address.data());
    return nb::make_tuple(::inet_ntop(AF_INET6, &ip->sin6_addr, text.data(), text.size()), address.port(),
                          ntohl(ip->sin6_flowinfo), ip->sin6_scope_id);
  }
  if (address.family() == AF_UNIX) {
    const std::string_view path = address.unix_path();
    if (path.starts_with('\0')) return bytes_of(path);
    nb::object decoded = nb::steal(PyUnicode_DecodeFSDefaultAndSize(path.data(), static_cast<Py_ssize_t>(path.size())));
    if (!decoded.is_valid()) throw nb::python_error();
    return decoded;
  }
  return nb::none();
}

/// Peers have a say in it, so it is not sure to be UTF-8.
nb::object text_or_none(const std::string& text) {
  if (text.empty()) return nb::none();
  nb::object made = nb::steal(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
  if (!made.is_valid()) throw nb::python_error();
  return made;
}

nb::object bytes_or_none(const std::string& bytes) {
  return bytes.empty() ? nb::none() : nb::object(bytes_of(bytes));
}

std::string_view bytes_view(nb::handle object, const char* what) {
  if (!PyBytes_Check(object.ptr())) {
    PyErr_Format(PyExc_TypeError, "%s must be bytes, not %s", what, Py_TYPE(object.ptr())->tp_name);
    throw nb::python_error();
  }
  return {PyBytes_AS_STRING(object.ptr()), static_cast<std::size_t>(PyBytes_GET_SIZE(object.ptr()))};
}

/// As a transport uses it. Methods are called with the GIL and give it away to wait.
class Exchange final : public HandledExchange {
 private:
  /// Runs a step without the GIL. One thread at a time: the flag is read and written with the GIL.
  template <typename Step>
  auto in_use(Step step) {
    if (busy_)
      raise(Error::make(ErrorCode::local_protocol, Phase::none, "another thread is using this response"),
            handle_.error_factory);
    std::optional<decltype(step(options_))> result;
    bool raised = false;
    busy_ = true;
    {
      WithoutGil without_gil;
      client::CallOptions options = options_;
      options.interrupt = without_gil.interrupt();
      result.emplace(step(options));
      raised = without_gil.raised();
      if (raised || !*result) exchange_.abandon();
    }
    busy_ = false;
    if (!exchange_.holds()) note_end();
    return value_or_raise(*std::move(result), raised, handle_.error_factory);
  }

 public:
  Exchange(nb::object handle, client::Exchange&& exchange, const Timeouts& timeouts)
      : HandledExchange(std::move(handle), std::move(exchange)), options_{timeouts, {}, handle_.connect_retries} {}
  // A finalizer never reads.
  ~Exchange() {
    if (exiting()) return;  // others may be parked inside its pool
    exchange_.abandon();
    note_end();
  }

  /// \param again it is the second try.
  /// \returns false if other code closed the library's descriptors and nothing was sent: a new exchange opens its own.
  bool obtain_and_send(std::optional<std::string_view> content, bool again) {
    bool lost = false;
    in_use([&](const client::CallOptions& options) -> Result<void> {
      auto step = exchange_.obtain(options);
      note_origin();
      if (step && content) {
        step = exchange_.send(*content, options);
        note_origin();  // after a retry another one
      }
      lost = !step && !again && step.error().code == ErrorCode::forked && step.error().bytes_sent == 0;
      return lost ? Result<void>() : step;
    });
    return !lost;
  }
  bool write(nb::handle data) {
    const BodyView body(data);
    return in_use([&](const client::CallOptions& options) { return exchange_.write(body.view(), options); });
  }
  void finish() {
    in_use([&](const client::CallOptions& options) { return exchange_.finish(options); });
  }
  nb::object read() {
    std::vector<std::string_view> pieces;  // into this thread's buffer, or the exchange
    bool more = false;
    if (!busy_ && exchange_.read_is_ready()) {
      more = value_or_raise(exchange_.read(pieces, options_), false, handle_.error_factory);
    } else {
      more = in_use([&](const client::CallOptions& options) { return exchange_.read(pieces, options); });
    }
    if (!more) pieces.clear();
    return joined_bytes(pieces);
  }
  void close() {
    if (busy_) return;  // another thread is in it; its own end will do
    close_exchange();
  }

 private:
  const client::CallOptions options_;
};

}  // namespace

nb::object HandledExchange::take_arrived() {
  if (!arrived() || exchange_.switched()) return nb::none();
  std::vector<std::string_view> pieces;  // into the exchange
  // Needs no I/O, so that it is the same in an event loop.
  const bool any = value_or_raise(exchange_.read(pieces, {}), false, handle_.error_factory);
  if (!exchange_.holds()) note_end();
  return joined_bytes(any ? pieces : std::vector<std::string_view>());
}

nb::object HandledExchange::tunnel_answer() const {
  const auto answer = busy_ ? nullptr : exchange_.tunnel_answer();
  if (!answer) return nb::none();
  return nb::make_tuple(bytes_of(http_version(*answer)), answer->status, bytes_of(answer->reason),
                        header_bytes(answer->headers));
}

nb::object HandledExchange::address(net::SocketAddress connection::Addresses::* which) const {
  const auto& addresses = exchange_.addresses();
  if (busy_ || !addresses) return nb::none();
  return address_from((*addresses).*which);
}

template <typename Step>
net::IoResult HandledExchange::in_hand(Step step) {
  if (in_hand_) {
    raise(Error::make(ErrorCode::local_protocol, Phase::none, "another thread is using this connection"),
          handle_.error_factory);
  }
  in_hand_ = true;
  const Result<net::IoResult> io = step();
  in_hand_ = false;
  if (std::exchange(closing_, false)) close_exchange();
  if (!io) raise(io.error(), handle_.error_factory);
  return io.value();
}

namespace {

long events_for(net::IoStatus status) noexcept {
  return status == net::IoStatus::want_write ? POLLOUT : POLLIN;
}

}  // namespace

nb::object HandledExchange::receive(std::size_t most) {
  most = std::min(most, client::receive_buffer_size);
  nb::object bytes = nb::steal(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(most)));
  if (!bytes.is_valid()) throw nb::python_error();
  if (most == 0) return bytes;
  const net::IoResult io = in_hand([&] { return exchange_.receive({PyBytes_AS_STRING(bytes.ptr()), most}); });
  // A peer that ends without TLS's goodbye has ended all the same: what follows is not HTTP's to judge.
  if (io.status == net::IoStatus::want_read || io.status == net::IoStatus::want_write) {
    return nb::int_(events_for(io.status));
  }
  PyObject* const whole = bytes.release().ptr();
  PyObject* cut = whole;
  const std::size_t size = io.status == net::IoStatus::ok ? io.bytes : 0;
  if (_PyBytes_Resize(&cut, static_cast<Py_ssize_t>(size)) != 0) throw nb::python_error();
  return nb::steal(cut);
}

long HandledExchange::transmit(nb::handle data) {
  const BodyView body(data);
  if (body.view().empty()) return 0;
  const net::IoResult io = in_hand([&] { return exchange_.transmit(body.view()); });
  return io.status == net::IoStatus::ok ? static_cast<long>(io.bytes) : -events_for(io.status);
}

nb::object HandledExchange::ssl_object() const {
  return busy_ ? nb::none() : ssl_object_of(exchange_.engine());
}

nb::object HandledExchange::tls_session() const {
  if (busy_ || exchange_.tls_session() == nullptr) return nb::none();
  const net::TlsSession& session = *exchange_.tls_session();
  return nb::make_tuple(session.version, nb::make_tuple(session.cipher, session.cipher_protocol, session.cipher_bits),
                        text_or_none(session.alpn_protocol), text_or_none(session.server_name), session.resumed,
                        session.verified, bytes_or_none(session.certificate), bytes_or_none(session.channel_binding));
}

nb::object joined_bytes(const std::vector<std::string_view>& pieces) {
  if (pieces.size() == 1) return bytes_of(pieces.front());
  std::size_t size = 0;
  for (const std::string_view piece : pieces)
    size += piece.size();
  nb::object joined = nb::steal(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
  if (!joined.is_valid()) throw nb::python_error();
  char* end = PyBytes_AS_STRING(joined.ptr());
  for (const std::string_view piece : pieces)
    end = std::copy(piece.begin(), piece.end(), end);
  return joined;
}

GivenRequest open_request(Handle& self, nb::handle scheme, nb::handle host, nb::handle port, nb::handle method,
                          nb::handle target, nb::handle headers, nb::handle content, nb::handle timeouts,
                          nb::handle server_name) {
  if (self.closed)
    raise(Error::make(ErrorCode::pool_closed, Phase::acquire, "this transport was closed"), self.error_factory);
  const Scheme kind = bytes_view(scheme, "scheme") == "https" ? Scheme::https : Scheme::http;
  std::uint16_t number = default_port(kind);
  if (!port.is_none()) {
    const long value = PyLong_AsLong(port.ptr());
    if (value == -1 && PyErr_Occurred() != nullptr) throw nb::python_error();
    if (value < 0 || value > 65535)
      raise(Error::make(ErrorCode::connect_failed, Phase::connect, "no such port: " + std::to_string(value)),
            self.error_factory);
    number = static_cast<std::uint16_t>(value);
  }
  std::optional<std::string_view> sni;
  HeaderText text;
  if (!server_name.is_none()) sni = text.view(server_name);
  client::Core& core = self.pool.core();
  auto there = self.endpoint(core, kind, bytes_view(host, "host"), number, sni);
  if (!there) raise(there.error(), self.error_factory);
  const Timeouts limits = timeouts_from_tuple(timeouts);  // before the views: a number's own __float__ may run
  const std::vector<Header> pairs = headers_from(headers, text);
  const std::optional<std::string_view> body =
      content.is_none() ? std::nullopt : std::optional(bytes_view(content, "content"));
  auto opened = client::Exchange::open(core, std::move(there).value(),
                                       {bytes_view(method, "method"), bytes_view(target, "target"), pairs});
  if (!opened) raise(opened.error(), self.error_factory);
  ++self.requests;
  ++self.pool.requests;
  return {std::move(opened).value(), limits, body};
}

nb::object send(nb::handle self, nb::handle scheme, nb::handle host, nb::handle port, nb::handle method,
                nb::handle target, nb::handle headers, nb::handle content, nb::handle timeouts,
                nb::handle server_name) {
  for (bool again = false;; again = true) {
    GivenRequest given = open_request(nb::cast<Handle&>(self), scheme, host, port, method, target, headers, content,
                                      timeouts, server_name);
    auto* const exchange = new Exchange(nb::borrow(self), std::move(given.exchange), given.timeouts);
    nb::object result = nb::cast(exchange, nb::rv_policy::take_ownership);
    if (exchange->obtain_and_send(given.body, again)) return result;
  }
}

void bind_exchange(nb::module_& module) {
  using namespace nb::literals;
  nb::class_<Exchange> type(module, "Exchange");
  type.def("write", &Exchange::write, "data"_a)
      .def("finish", &Exchange::finish)
      .def("read", &Exchange::read)
      .def("__iter__", [](nb::handle self) { return self; })
      .def("__next__",
           [](Exchange& self) {
             nb::object piece = self.read();
             if (PyBytes_GET_SIZE(piece.ptr()) == 0) throw nb::stop_iteration();
             return piece;
           })
      .def("close", &Exchange::close);
  bind_response_parts(type);
}

}  // namespace fastpool::bindings
