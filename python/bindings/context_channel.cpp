#include "context_channel.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include <nanobind/nanobind.h>

#include "errors.h"
#include "gil.h"

namespace nb = nanobind;

namespace fastpool::bindings {

using net::IoMode;
using net::IoResult;
using net::IoStatus;
using net::Liveness;

namespace {

/// The most that one TLS record carries.
constexpr std::size_t record_size = 16UL * 1024;
/// One write() ends after about this much, so that a caller with a long body looks at its clock and signals in between.
constexpr std::size_t write_stride = 4 * record_size;

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
  if (PyErr_Occurred() != nullptr) return nullptr;  // a module that is not what it should be: small leak, no use
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

std::size_t size_of(std::span<const iovec> pieces) noexcept {
  std::size_t size = 0;
  for (const iovec& piece : pieces)
    size += piece.iov_len;
  return size;
}

bool is_want(IoStatus status) noexcept {
  return status == IoStatus::want_read || status == IoStatus::want_write;
}

}  // namespace

ContextChannel::ContextChannel(std::shared_ptr<const ContextFactory> factory, net::Descriptor socket,
                               std::string server_name)
    : factory_(std::move(factory)), socket_(std::move(socket)), server_name_(std::move(server_name)) {}

PyObject* ContextChannel::part(Part which) const noexcept {
  return PyTuple_GET_ITEM(session_->get(), static_cast<Py_ssize_t>(which));
}

/// Takes the GIL for a step, unless something raised on this thread already.
template <typename Step>
ContextChannel::Outcome ContextChannel::in_python(Step step) noexcept {
  return with_gil([&] {
    if (PyErr_Occurred() == nullptr) return step();
    interrupted_ = true;
    return Outcome::failed;
  });
}

// ---- with the GIL ----------------------------------------------------------------------------------------------------

// Keeps what was raised, unless it only asks for more.
ContextChannel::Outcome ContextChannel::take_raised() noexcept {
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
  if (!interrupts && end_ && end_->status == IoStatus::error) {
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
ContextChannel::Outcome ContextChannel::begin_session() noexcept {
  give_up_dropped_references();
  const Ssl* const ssl = ssl_module();
  if (ssl == nullptr) return take_raised();
  const Owned context(factory_->context());
  if (!context) {
    last_error_ = "the ssl.SSLContext of this connection is gone";
    return Outcome::failed;
  }
  const Owned protocols(
      guarded([&] { return PyObject_CallMethod(context.get(), "set_alpn_protocols", "([s])", "http/1.1"); }));
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

ContextChannel::Outcome ContextChannel::shake_hands() noexcept {
  const Owned returned(guarded([&] { return PyObject_CallNoArgs(part(Part::do_handshake)); }));
  const Outcome outcome = returned ? Outcome::done : take_raised();
  if (const Outcome collected = collect(); collected != Outcome::done) return collected;
  if (outcome == Outcome::done) {
    const Py_ssize_t behind = pending_in(part(Part::incoming), *ssl_module());
    if (behind < 0) return take_raised();
    drained_ = behind == 0;
  }
  return outcome;
}

ContextChannel::Outcome ContextChannel::feed(std::span<const char> cipher, bool eof) noexcept {
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

// Until the buffer is full, or more is needed, or something other than bytes arrived. What arrived with bytes before it is met
// again by the next call.
ContextChannel::Outcome ContextChannel::decrypt(std::span<char> buffer, std::size_t& got) noexcept {
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

ContextChannel::Outcome ContextChannel::encrypt(std::span<const iovec> given, std::size_t from,
                                                std::size_t most) noexcept {
  Outcome outcome = Outcome::done;
  while (plain_ < most) {
    const std::size_t size = std::min(most - plain_, record_size);
    const Owned plain(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
    if (plain) gather(given, from + plain_, PyBytes_AS_STRING(plain.get()), size);
    const Owned taken(plain ? guarded([&] { return PyObject_CallOneArg(part(Part::write), plain.get()); }) : nullptr);
    const Py_ssize_t count = taken ? PyLong_AsSsize_t(taken.get()) : -1;
    if (count < 0) {
      outcome = PyErr_Occurred() != nullptr ? take_raised() : Outcome::failed;
      break;
    }
    plain_ += std::min(static_cast<std::size_t>(count), size);
  }
  if (const Outcome collected = collect(); collected != Outcome::done) return collected;
  // What is encrypted goes out first.
  return outcome == Outcome::want_read && plain_ > 0 ? Outcome::done : outcome;
}

ContextChannel::Outcome ContextChannel::collect() noexcept {
  const Ssl& ssl = *ssl_module();
  PyObject* const outgoing = part(Part::outgoing);
  const Py_ssize_t waiting = pending_in(outgoing, ssl);
  if (waiting < 0) return take_raised();
  if (waiting == 0) return Outcome::done;
  const Owned cipher(guarded([&] { return PyObject_CallMethodNoArgs(outgoing, ssl.read); }));
  if (!cipher) return take_raised();
  unsent_.append(PyBytes_AS_STRING(cipher.get()), static_cast<std::size_t>(PyBytes_GET_SIZE(cipher.get())));
  return Outcome::done;
}

// ---- bytes -----------------------------------------------------------------------------------------------------------

IoResult ContextChannel::result_of(Outcome outcome) const noexcept {
  switch (outcome) {
    case Outcome::done:
      return {IoStatus::ok, 0, 0};
    case Outcome::want_read:
      return {IoStatus::want_read, 0, 0};
    case Outcome::end:
      return {IoStatus::end, 0, 0};
    case Outcome::cut_off:
      return {IoStatus::truncated, 0, 0};
    case Outcome::failed:
      break;
  }
  return {IoStatus::error, 0, interrupted_ ? ECANCELED : 0};
}

/// Sends until all is sent, or what the kernel says in between; some of it may have gone out then.
IoResult ContextChannel::send_unsent(IoMode mode) noexcept {
  while (sent_ < unsent_.size()) {
    const iovec rest{unsent_.data() + sent_, unsent_.size() - sent_};
    const IoResult io = socket_.write({&rest, 1}, mode);
    if (io.status == IoStatus::error) {
      mute_ = true;
      os_error_ = io.os_error;
    }
    if (io.status != IoStatus::ok) return io;
    sent_ += io.bytes;
  }
  return {IoStatus::ok, 0, 0};
}

IoResult ContextChannel::handshake_failed(const IoResult& io) noexcept {
  mute_ = true;
  if (io.os_error != 0 && !interrupted_) os_error_ = io.os_error;
  end_ = {IoStatus::error, 0, io.os_error};
  return *end_;
}

IoResult ContextChannel::handshake(IoMode mode) noexcept {
  if (end_) return *end_;
  for (bool waited = false;;) {
    const IoResult sent = send_unsent(mode);
    if (is_want(sent.status)) return sent;
    if (sent.status != IoStatus::ok) return handshake_failed(sent);
    unsent_.clear();
    sent_ = 0;
    if (shaken_) {
      established_ = true;
      return {IoStatus::ok, 0, 0};
    }
    Outcome outcome = Outcome::done;
    if (session_ == nullptr) {
      outcome = in_python([this] {
        const Outcome begun = begin_session();
        return begun == Outcome::done ? shake_hands() : begun;
      });
    } else {
      if (waited && mode == IoMode::wait) return {IoStatus::want_read, 0, 0};
      std::array<char, record_size>
          buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): written before it is read
      const IoResult io = socket_.read(buffer, mode);
      if (is_want(io.status)) return io;
      if (io.status == IoStatus::error) return handshake_failed(io);
      waited = true;
      outcome = in_python([&] {
        const Outcome fed = feed(std::span(buffer).first(io.bytes), io.status == IoStatus::end);
        return fed == Outcome::done ? shake_hands() : fed;
      });
    }
    if (outcome == Outcome::done) {
      shaken_ = true;
    } else if (outcome != Outcome::want_read) {
      (void)send_unsent(IoMode::dont_wait);  // the alert that tells the peer
      os_error_ = 0;
      return handshake_failed({IoStatus::error, 0, interrupted_ ? ECANCELED : 0});
    }
  }
}

Error ContextChannel::handshake_error() const {
  std::string text = last_error_;
  if (text.empty()) text = os_error_ != 0 ? std::generic_category().message(os_error_) : "the TLS handshake failed";
  Error error = Error::make(interrupted_ ? ErrorCode::interrupted : ErrorCode::tls_failed, Phase::tls_handshake,
                            std::move(text), interrupted_ ? 0 : os_error_);
  error.final = certificate_refused_;
  error.cause = cause_;
  return error;
}

/// Gives the SSLObject what was received into the buffer, and reads into it.
IoResult ContextChannel::feed_and_read(std::span<char> buffer, std::size_t received, bool eof) noexcept {
  std::size_t got = 0;
  const Outcome outcome = in_python([&] {
    Outcome step = feed(buffer.first(received), eof);
    if (step == Outcome::done) step = decrypt(buffer, got);
    const Outcome collected = collect();  // answers of the protocol's own: key updates, certificates asked for later
    return collected == Outcome::done ? step : collected;
  });
  if (plain_ == 0 && !mute_) (void)send_unsent(IoMode::dont_wait);
  const IoResult result = result_of(outcome);
  if (outcome != Outcome::done && outcome != Outcome::want_read) {
    drained_ = true;
    end_ = result;
  }
  return got > 0 ? IoResult{IoStatus::ok, got, 0} : result;
}

IoResult ContextChannel::read(std::span<char> buffer, IoMode mode) noexcept {
  if (end_) return *end_;
  if (interrupted_) return result_of(Outcome::failed);
  if (!established_) return {IoStatus::error, 0, ENOTCONN};
  if (!drained_) {
    const IoResult result = feed_and_read(buffer, 0, false);
    if (result.status != IoStatus::want_read) return result;
  }
  for (;;) {
    const IoResult io = socket_.read(buffer, mode);
    if (is_want(io.status)) return io;
    if (io.status == IoStatus::error) {
      end_ = io;
      return io;
    }
    const IoResult result = feed_and_read(buffer, io.bytes, io.status == IoStatus::end);
    if (result.status != IoStatus::want_read || mode == IoMode::wait) return result;
  }
}

/// For a write that cannot go on without the peer.
IoResult ContextChannel::feed_more(IoMode mode) noexcept {
  std::array<char, record_size> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): written before it is read
  const IoResult io = socket_.read(buffer, mode);
  if (io.status != IoStatus::ok && io.status != IoStatus::end) return io;
  return result_of(in_python([&] { return feed(std::span(buffer).first(io.bytes), io.status == IoStatus::end); }));
}

std::size_t ContextChannel::newly_written() noexcept {
  std::size_t now = plain_;
  if (sent_ < unsent_.size()) {
    now = plain_ == 0 ? 0 : std::max(told_, std::min(plain_ - 1, plain_ * sent_ / unsent_.size()));
  }
  return now - std::exchange(told_, now);
}

IoResult ContextChannel::write(std::span<const iovec> given, IoMode mode) noexcept {
  if (interrupted_) return result_of(Outcome::failed);
  if (!established_ || mute_) return {IoStatus::error, 0, os_error_ != 0 ? os_error_ : EPIPE};
  const std::size_t given_bytes = size_of(given);
  std::size_t total = std::min(ahead_, given_bytes);
  ahead_ -= total;
  for (;;) {
    const IoResult io = send_unsent(mode);
    const std::size_t fresh = newly_written();
    const std::size_t taken = std::min(fresh, given_bytes - total);
    ahead_ += fresh - taken;
    total += taken;
    if (io.status != IoStatus::ok) return total > 0 ? IoResult{IoStatus::ok, total, 0} : io;
    unsent_.clear();
    sent_ = plain_ = told_ = 0;
    if (total == given_bytes || total >= write_stride) return {IoStatus::ok, total, 0};

    const std::size_t most = std::min(given_bytes - total, write_stride - total);
    const Outcome outcome = in_python([&] { return encrypt(given, total, most); });
    if (outcome == Outcome::done) continue;
    IoResult result = result_of(outcome);
    if (outcome == Outcome::want_read) {
      result = feed_more(mode);
      if (result.status == IoStatus::ok) continue;
    } else {
      mute_ = true;
      result = {IoStatus::error, 0, result.os_error};
    }
    return total > 0 ? IoResult{IoStatus::ok, total, 0} : result;
  }
}

Liveness ContextChannel::peek() noexcept {
  if (end_ || mute_) return Liveness::dead;
  if (!established_) return session_ == nullptr ? socket_.peek() : Liveness::dead;
  if (drained_) {
    const Liveness raw = socket_.peek();
    if (raw != Liveness::unexpected) return raw;
  }
  // Session tickets and the like are taken and seen to; anything for the application was not asked for.
  std::array<char, record_size> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): written before it is read
  for (;;) {
    if (!drained_) {
      const IoResult result = feed_and_read(buffer, 0, false);
      if (result.status == IoStatus::ok) return Liveness::unexpected;
      if (interrupted_) return Liveness::alive;  // the next use, at once, raises that
      if (result.status != IoStatus::want_read) return Liveness::dead;
    }
    const IoResult io = socket_.read(buffer, IoMode::dont_wait);
    if (io.status == IoStatus::want_read) return Liveness::alive;
    if (io.status != IoStatus::ok) return Liveness::dead;
    const IoResult result = feed_and_read(buffer, io.bytes, false);
    if (result.status == IoStatus::ok) return Liveness::unexpected;
    if (interrupted_) return Liveness::alive;
    if (result.status != IoStatus::want_read) return Liveness::dead;
  }
}

nb::object ssl_object_of(const std::shared_ptr<const void>& engine) {
  if (engine == nullptr) return nb::none();
  PyObject* const session = static_cast<const Reference*>(engine.get())->get();
  return nb::borrow(PyTuple_GET_ITEM(session, 0));
}

}  // namespace fastpool::bindings
