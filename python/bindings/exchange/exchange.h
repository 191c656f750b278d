#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nanobind/nanobind.h>

#include "bindings/exchange/handle.h"
#include "bindings/interpreter/convert.h"
#include "client/exchange.h"

namespace fastpool::bindings {

/// What the blocking and the asynchronous form of a transport's exchange have in common: what can be asked of it, and its
/// part in the count of its handle. With the GIL.
class HandledExchange {
 public:
  HandledExchange(const HandledExchange&) = delete;
  HandledExchange& operator=(const HandledExchange&) = delete;

  [[nodiscard]] const h1::ResponseHead& head() const noexcept { return exchange_.head(); }
  [[nodiscard]] bool closed() const noexcept { return !busy_ && !exchange_.holds(); }
  [[nodiscard]] bool arrived() const noexcept { return !busy_ && exchange_.body_arrived(); }
  /// All of the body, which ends the exchange, if it has arrived; else None, and nothing has changed.
  [[nodiscard]] nanobind::object take_arrived();
  [[nodiscard]] bool fresh() const noexcept { return exchange_.fresh(); }
  // While another thread is in it, its connection may go at any moment.
  [[nodiscard]] bool over_http2() const noexcept { return !busy_ && exchange_.over_http2(); }
  /// Over HTTP/2; else 0.
  [[nodiscard]] std::int32_t stream_id() const noexcept { return busy_ ? 0 : exchange_.stream_id(); }
  [[nodiscard]] int descriptor() const noexcept { return busy_ ? -1 : exchange_.descriptor(); }
  [[nodiscard]] nanobind::object ssl_object() const;
  [[nodiscard]] nanobind::object tls_session() const;
  [[nodiscard]] nanobind::object address(net::SocketAddress connection::Addresses::* which) const;

  /// (http version, status, reason, headers) of a proxy's answer to the request for a tunnel; None without one.
  [[nodiscard]] nanobind::object tunnel_answer() const;

  // Of a connection that was handed over (101, CONNECT). Neither waits.
  [[nodiscard]] bool switched() const noexcept { return exchange_.switched(); }
  /// At most `most` bytes that have come, b"" at the peer's end; an int, if nothing has come: the events to poll for.
  /// Throws Python errors.
  [[nodiscard]] nanobind::object receive(std::size_t most);
  /// How many of the bytes the system took; negative, if none: the events to poll for. Throws Python errors.
  [[nodiscard]] long transmit(nanobind::handle data);

 protected:
  HandledExchange(nanobind::object handle, client::Exchange&& exchange)
      : handle_object_(std::move(handle)),
        handle_(nanobind::cast<Handle&>(handle_object_)),
        exchange_(std::move(exchange)),
        origin_(handle_.pool.origins()) {
    exchange_.configure(handle_.limit.get(), handle_.keep.get(), handle_.connect_retries);
  }
  ~HandledExchange() = default;

  /// Once the exchange has no connection any more, or will get none.
  void note_end() noexcept { origin_.forget(); }
  /// Ends the exchange at once, or once the thread that is in receive() or transmit() leaves it.
  void close_exchange() {
    if (in_hand_) {
      closing_ = true;
      return;
    }
    exchange_.close();
    note_end();
  }
  void note_origin() { origin_.note(exchange_.connection_id()); }

  const nanobind::object handle_object_;
  Handle& handle_;
  client::Exchange exchange_;
  bool busy_ = false;

 private:
  template <typename Step>
  net::IoResult in_hand(Step step);

  LeaseOrigin origin_;
  bool in_hand_ = false;  // receive() or transmit() is under way: a context's TLS gives away the GIL meanwhile
  bool closing_ = false;  // and is to close it behind itself
};

/// A request as a transport gives it, with what its views look into.
struct GivenRequest {
  client::Exchange exchange;
  Timeouts timeouts;
  std::optional<std::string_view> body;  ///< of a bytes object of the caller's; nothing: streamed
};
/// \param self the Handle. Throws Python errors.
[[nodiscard]] GivenRequest open_request(Handle& self, nanobind::handle scheme, nanobind::handle host,
                                        nanobind::handle port, nanobind::handle method, nanobind::handle target,
                                        nanobind::handle headers, nanobind::handle content, nanobind::handle timeouts,
                                        nanobind::handle server_name);

/// The pieces of a body that came together, as one bytes object; b"" for none.
[[nodiscard]] nanobind::object joined_bytes(const std::vector<std::string_view>& pieces);

/// "HTTP/2"; "HTTP/1.1", or the other minor version that the peer speaks.
[[nodiscard]] inline std::string http_version(const h1::ResponseHead& head) {
  if (head.version_major == 2) return "HTTP/2";
  return "HTTP/1." + std::to_string(head.version_minor);
}

/// The properties of a response that both forms have.
template <typename Class>
void bind_response_parts(Class& type) {
  using Type = typename Class::Type;
  type.def_prop_ro("status", [](const Type& self) { return self.head().status; })
      .def_prop_ro("reason", [](const Type& self) { return bytes_of(self.head().reason); })
      .def_prop_ro("http_version", [](const Type& self) { return bytes_of(http_version(self.head())); })
      .def_prop_ro("headers", [](const Type& self) { return header_bytes(self.head().headers); })
      .def_prop_ro("header_items", [](const Type& self) { return header_items(self.head().headers); })
      .def("take_arrived", [](Type& self) { return self.take_arrived(); })
      .def_prop_ro("closed", [](const Type& self) { return self.closed(); })
      .def_prop_ro("arrived", [](const Type& self) { return self.arrived(); })
      .def_prop_ro("switched", [](const Type& self) { return self.switched(); })
      .def("receive", [](Type& self, std::size_t most) { return self.receive(most); })
      .def("transmit", [](Type& self, nanobind::handle data) { return self.transmit(data); })
      .def_prop_ro("over_http2", [](const Type& self) { return self.over_http2(); })
      .def_prop_ro("stream_id", [](const Type& self) { return self.stream_id(); })
      .def_prop_ro("fresh", [](const Type& self) { return self.fresh(); })
      .def_prop_ro("descriptor", [](const Type& self) { return self.descriptor(); })
      .def_prop_ro("ssl_object", [](const Type& self) { return self.ssl_object(); })
      .def_prop_ro("tls_session", [](const Type& self) { return self.tls_session(); })
      .def_prop_ro("tunnel_answer", [](const Type& self) { return self.tunnel_answer(); })
      .def_prop_ro("local_address", [](const Type& self) { return self.address(&connection::Addresses::local); })
      .def_prop_ro("peer_address", [](const Type& self) { return self.address(&connection::Addresses::peer); });
}

void bind_exchange(nanobind::module_& module);
void bind_async_exchange(nanobind::module_& module);

/// Handle.send(): a blocking exchange. The first argument is the Handle.
[[nodiscard]] nanobind::object send(nanobind::handle self, nanobind::handle scheme, nanobind::handle host,
                                    nanobind::handle port, nanobind::handle method, nanobind::handle target,
                                    nanobind::handle headers, nanobind::handle content, nanobind::handle timeouts,
                                    nanobind::handle server_name);
/// Handle.start(): an asynchronous one, begun.
[[nodiscard]] nanobind::object start(nanobind::handle self, nanobind::handle loop, nanobind::handle scheme,
                                     nanobind::handle host, nanobind::handle port, nanobind::handle method,
                                     nanobind::handle target, nanobind::handle headers, nanobind::handle content,
                                     nanobind::handle timeouts, nanobind::handle server_name);

}  // namespace fastpool::bindings
