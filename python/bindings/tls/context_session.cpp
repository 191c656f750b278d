#include "bindings/tls/context_session.h"

#include <algorithm>
#include <cstring>

#include "bindings/interpreter/errors.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

/// What is used of the `ssl` module; with the GIL.
struct Ssl {
  PyObject* memory_bio = nullptr;
  PyObject* want_read = nullptr;
  PyObject* want_write = nullptr;
  PyObject* zero_return = nullptr;
  PyObject* eof = nullptr;
  PyObject* certificate = nullptr;
  // Names, as Python keeps them.
  PyObject* pending = nullptr;
  PyObject* read = nullptr;
  PyObject* write = nullptr;
  PyObject* write_eof = nullptr;
};

/// Made once, never dropped. Null with an error set if that fails.
const Ssl* ssl_module() noexcept {
  static Ssl* loaded = nullptr;
  if (loaded != nullptr) return loaded;
  PyObject* const module = PyImport_ImportModule("ssl");
  if (module == nullptr) return nullptr;
  // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): once; without memory for it nothing can go on
  auto* const fresh = new Ssl{PyObject_GetAttrString(module, "MemoryBIO"),
                              PyObject_GetAttrString(module, "SSLWantReadError"),
                              PyObject_GetAttrString(module, "SSLWantWriteError"),
                              PyObject_GetAttrString(module, "SSLZeroReturnError"),
                              PyObject_GetAttrString(module, "SSLEOFError"),
                              PyObject_GetAttrString(module, "SSLCertVerificationError"),
                              PyUnicode_InternFromString("pending"),
                              PyUnicode_InternFromString("read"),
                              PyUnicode_InternFromString("write"),
                              PyUnicode_InternFromString("write_eof")};
  Py_DECREF(module);
  // NOLINTNEXTLINE(clang-analyzer-cplusplus.NewDeleteLeaks): of a module that is not what it should be, once per try
  if (PyErr_Occurred() != nullptr) return nullptr;
  return loaded = fresh;
}

/// A call into Python that may run code of the application's, or wait for the GIL: the thread may be unwound in it.
template <typename Call>
auto guarded(Call call) {
  UnwindingParks guard;
  const auto result = call();
  guard.over();
  return result;
}

/// Ends a reference of this function's own.
class Owned {
 public:
  explicit Owned(PyObject* object) noexcept : object_(object) {}
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (object_ != nullptr) guarded([this] { return Py_DECREF(object_), true; });
  }
  [[nodiscard]] PyObject* get() const noexcept { return object_; }
  [[nodiscard]] explicit operator bool() const noexcept { return object_ != nullptr; }

 private:
  PyObject* const object_;
};

/// How much lies in a MemoryBIO; -1 with an error set.
Py_ssize_t pending_in(PyObject* bio, const Ssl& ssl) noexcept {
  const Owned number(guarded([&] { return PyObject_GetAttr(bio, ssl.pending); }));
  return number ? PyLong_AsSsize_t(number.get()) : -1;
}

std::string text_of(PyObject* exception) noexcept {
  const Owned text(guarded([&] { return PyObject_Str(exception); }));
  Py_ssize_t size = 0;
  const char* const utf8 = text ? PyUnicode_AsUTF8AndSize(text.get(), &size) : nullptr;
  if (utf8 == nullptr) PyErr_Clear();
  return utf8 == nullptr ? std::string(Py_TYPE(exception)->tp_name) : std::string(utf8, static_cast<std::size_t>(size));
}

/// Copies `size` bytes of the pieces, from `skip` on.
void gather(std::span<const iovec> pieces, std::size_t skip, char* out, std::size_t size) noexcept {
  for (const iovec& piece : pieces) {
    if (skip >= piece.iov_len) {
      skip -= piece.iov_len;
      continue;
    }
    const std::size_t step = std::min(piece.iov_len - skip, size);
    std::memcpy(out, static_cast<const char*>(piece.iov_base) + skip, step);
    out += step;
    size -= step;
    skip = 0;
    if (size == 0) return;
  }
}

}  // namespace

PyObject* ContextSession::part(Part which) const noexcept {
  return PyTuple_GET_ITEM(session_->get(), static_cast<Py_ssize_t>(which));
}

// Keeps what was raised, unless it only asks for more.
ContextSession::Outcome ContextSession::take_raised() noexcept {
  const Ssl* const ssl = ssl_module();
  PyObject* const exception = guarded([] { return take_exception(); });
  Reference kept(exception);
  const auto is = [&](PyObject* type) { return PyErr_GivenExceptionMatches(exception, type) != 0; };
  if (ssl != nullptr && (is(ssl->want_read) || is(ssl->want_write))) {
    const Owned ended_here(kept.release());
    return Outcome::want_read;
  }
  const bool interrupts = ssl == nullptr || !is(PyExc_OSError);
  // Reading has met the reason, such as an alert: writes after that only say that the connection is over.
  if (!interrupts && keeps_error_) {
    const Owned ended_here(kept.release());
    return Outcome::failed;
  }
  last_error_ = text_of(exception);
  cause_ = std::make_shared<const Reference>(std::move(kept));
  if (interrupts) {
    interrupted_ = true;
    return Outcome::failed;
  }
  if (is(ssl->zero_return)) return Outcome::end;
  if (is(ssl->eof)) return Outcome::cut_off;
  certificate_refused_ = is(ssl->certificate);
  return Outcome::failed;
}

// As httpcore begins one: its protocols are set on the context each time.
ContextSession::Outcome ContextSession::begin() noexcept {
  give_up_dropped_references();
  const Ssl* const ssl = ssl_module();
  if (ssl == nullptr) return take_raised();
  const Owned context(factory_->context());
  if (!context) {
    last_error_ = "the ssl.SSLContext of this connection is gone";
    return Outcome::failed;
  }
  const Owned protocols(guarded([&] {
    if (!protocols_.http2) return PyObject_CallMethod(context.get(), "set_alpn_protocols", "([s])", "http/1.1");
    if (!protocols_.http1) return PyObject_CallMethod(context.get(), "set_alpn_protocols", "([s])", "h2");
    return PyObject_CallMethod(context.get(), "set_alpn_protocols", "([ss])", "h2", "http/1.1");
  }));
  if (!protocols) return take_raised();
  const Owned incoming(guarded([&] { return PyObject_CallNoArgs(ssl->memory_bio); }));
  const Owned outgoing(guarded([&] { return PyObject_CallNoArgs(ssl->memory_bio); }));
  const Owned arguments(incoming && outgoing ? PyTuple_Pack(2, incoming.get(), outgoing.get()) : nullptr);
  const Owned name(PyUnicode_FromStringAndSize(server_name_.data(), static_cast<Py_ssize_t>(server_name_.size())));
  const Owned keywords(
      arguments && name ? Py_BuildValue("{s:O,s:O}", "server_side", Py_False, "server_hostname", name.get()) : nullptr);
  const Owned wrap(keywords ? guarded([&] { return PyObject_GetAttrString(context.get(), "wrap_bio"); }) : nullptr);
  const Owned object(wrap ? guarded([&] { return PyObject_Call(wrap.get(), arguments.get(), keywords.get()); })
                          : nullptr);
  const auto method = [&](const char* which) {
    return object && PyErr_Occurred() == nullptr ? guarded([&] { return PyObject_GetAttrString(object.get(), which); })
                                                 : nullptr;
  };
  const Owned do_handshake(method("do_handshake"));
  const Owned read(method("read"));
  const Owned write(method("write"));
  // by Part
  PyObject* const session = !write ? nullptr
                                   : PyTuple_Pack(6, object.get(), do_handshake.get(), read.get(), write.get(),
                                                  incoming.get(), outgoing.get());
  if (session == nullptr) return take_raised();
  session_ = std::make_shared<const Reference>(session);
  return Outcome::done;
}

ContextSession::Outcome ContextSession::shake_hands(std::string& unsent) noexcept {
  const Owned returned(guarded([&] { return PyObject_CallNoArgs(part(Part::do_handshake)); }));
  const Outcome outcome = returned ? Outcome::done : take_raised();
  if (const Outcome collected = collect(unsent); collected != Outcome::done) return collected;
  if (outcome == Outcome::done) {
    const Py_ssize_t behind = pending_in(part(Part::incoming), *ssl_module());
    if (behind < 0) return take_raised();
    drained_ = behind == 0;
    // Also where it was not offered: another thread may have set the context's protocols in between.
    const Owned chosen(
        guarded([&] { return PyObject_CallMethod(part(Part::object), "selected_alpn_protocol", nullptr); }));
    if (!chosen) return take_raised();
    chose_http2_ = PyUnicode_Check(chosen.get()) != 0 && PyUnicode_CompareWithASCIIString(chosen.get(), "h2") == 0;
  }
  return outcome;
}

ContextSession::Outcome ContextSession::feed(std::span<const char> cipher, bool eof) noexcept {
  const Ssl& ssl = *ssl_module();
  PyObject* const incoming = part(Part::incoming);
  if (!cipher.empty()) {
    // The BIO copies, and keeps no view.
    const Owned view(PyMemoryView_FromMemory(const_cast<char*>(cipher.data()),  // NOLINT: it is only read
                                             static_cast<Py_ssize_t>(cipher.size()), PyBUF_READ));
    const Owned taken(view ? guarded([&] { return PyObject_CallMethodOneArg(incoming, ssl.write, view.get()); })
                           : nullptr);
    if (!taken) return take_raised();
    drained_ = false;
  }
  if (eof && !eof_) {
    const Owned told(guarded([&] { return PyObject_CallMethodNoArgs(incoming, ssl.write_eof); }));
    if (!told) return take_raised();
    eof_ = true;
    drained_ = false;
  }
  return Outcome::done;
}

ContextSession::Outcome ContextSession::decrypt(std::span<char> buffer, std::size_t& got) noexcept {
  const Ssl& ssl = *ssl_module();
  while (got < buffer.size()) {
    const std::size_t most = std::min(buffer.size() - got, record_size);
    const Owned size(PyLong_FromSize_t(most));
    const Owned plain(size ? guarded([&] { return PyObject_CallOneArg(part(Part::read), size.get()); }) : nullptr);
    if (!plain) {
      const Outcome outcome = take_raised();
      drained_ = outcome == Outcome::want_read;
      return outcome == Outcome::end && eof_ ? Outcome::cut_off : outcome;
    }
    if (!PyBytes_Check(plain.get()) || static_cast<std::size_t>(PyBytes_GET_SIZE(plain.get())) > most) {
      PyErr_SetString(PyExc_TypeError, "the read() of this SSLObject gave something else than bytes");
      return take_raised();
    }
    const auto size_got = static_cast<std::size_t>(PyBytes_GET_SIZE(plain.get()));
    // An end without close_notify looks like one with it where the context says so (ssl.OP_IGNORE_UNEXPECTED_EOF is among
    // Python's defaults); but a close_notify comes before the FIN.
    if (size_got == 0) return eof_ ? Outcome::cut_off : Outcome::end;
    std::memcpy(buffer.data() + got, PyBytes_AS_STRING(plain.get()), size_got);
    got += size_got;
    if (size_got < most || most == record_size) {  // so much for this record
      const Py_ssize_t behind = pending_in(part(Part::incoming), ssl);
      if (behind < 0) return take_raised();
      if (behind == 0 && !eof_) {
        drained_ = true;
        return Outcome::done;
      }
    }
  }
  return Outcome::done;
}

ContextSession::Outcome ContextSession::encrypt(std::span<const iovec> given, std::size_t from, std::size_t most,
                                                std::size_t& plain, std::string& unsent) noexcept {
  Outcome outcome = Outcome::done;
  while (plain < most) {
    const std::size_t size = std::min(most - plain, record_size);
    const Owned piece(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
    if (piece) gather(given, from + plain, PyBytes_AS_STRING(piece.get()), size);
    const Owned taken(piece ? guarded([&] { return PyObject_CallOneArg(part(Part::write), piece.get()); }) : nullptr);
    const Py_ssize_t count = taken ? PyLong_AsSsize_t(taken.get()) : -1;
    if (count < 0) {
      outcome = PyErr_Occurred() != nullptr ? take_raised() : Outcome::failed;
      break;
    }
    plain += std::min(static_cast<std::size_t>(count), size);
  }
  if (const Outcome collected = collect(unsent); collected != Outcome::done) return collected;
  // What is encrypted goes out first.
  return outcome == Outcome::want_read && plain > 0 ? Outcome::done : outcome;
}

ContextSession::Outcome ContextSession::collect(std::string& unsent) noexcept {
  const Ssl& ssl = *ssl_module();
  PyObject* const outgoing = part(Part::outgoing);
  const Py_ssize_t waiting = pending_in(outgoing, ssl);
  if (waiting < 0) return take_raised();
  if (waiting == 0) return Outcome::done;
  const Owned cipher(guarded([&] { return PyObject_CallMethodNoArgs(outgoing, ssl.read); }));
  if (!cipher) return take_raised();
  unsent.append(PyBytes_AS_STRING(cipher.get()), static_cast<std::size_t>(PyBytes_GET_SIZE(cipher.get())));
  return Outcome::done;
}

nb::object ssl_object_of(const std::shared_ptr<const void>& engine) {
  if (engine == nullptr) return nb::none();
  PyObject* const session = static_cast<const Reference*>(engine.get())->get();
  return nb::borrow(PyTuple_GET_ITEM(session, 0));
}

}  // namespace fastpool::bindings
