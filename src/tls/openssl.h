#pragma once

/// \file
/// Owners for OpenSSL's objects and the words of its error queue. The queue belongs to the thread: a function that calls OpenSSL
/// clears it before, and leaves it empty behind.
///
/// OpenSSL locks what the whole process shares (its table of algorithms, its random numbers, the indexes of its objects), a
/// fork's child has to go on with that, and whatever another thread of the parent had locked stays locked there. So
/// code that calls OpenSSL for more than a look at an object does so in an OpenSslSection, which holds up forks; the socket's
/// waits are taken out of it again (socket_bio.cpp).
///
/// OpenSSL frees what it shares when the process exits, by an exit handler of its own, while destructors of the program
/// may still make requests: initialize() makes that handler run as late as possible, and ended() says that it has run.

#include <memory>
#include <string>
#include <string_view>

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "sync/fork_gate.h"

namespace fastpool::tls {

using OpenSslSection = sync::ForkGate::Section;

/// Initializes OpenSSL (0.7 ms), once. Called before the first object of the library is complete, so that a static one is
/// destroyed before OpenSSL's exit handler runs. Any thread.
void initialize() noexcept;
/// Whether OpenSSL's exit handler has begun: nothing of OpenSSL may be called any more. Any thread.
[[nodiscard]] bool ended() noexcept;
/// What a TLS operation says then.
inline constexpr std::string_view ended_words = "the process is exiting, and OpenSSL has been shut down";

template <auto Free>
struct Freed {
  template <typename Object>
  void operator()(Object* object) const noexcept {
    if (ended()) return;  // the process gives it back
    const OpenSslSection inside;
    Free(object);
  }
};

using BioHandle = std::unique_ptr<BIO, Freed<&BIO_free>>;
using SslHandle = std::unique_ptr<SSL, Freed<&SSL_free>>;
using SslContextHandle = std::unique_ptr<SSL_CTX, Freed<&SSL_CTX_free>>;
using SessionHandle = std::unique_ptr<SSL_SESSION, Freed<&SSL_SESSION_free>>;

/// The reason of one error code in OpenSSL's words, e.g. "certificate verify failed".
[[nodiscard]] std::string reason_of(unsigned long code);
/// Takes the newest error off the queue and empties it. 0: there was none.
[[nodiscard]] unsigned long take_last_error() noexcept;
/// Takes the oldest error, which is where the trouble began, and empties the queue. 0: there was none.
[[nodiscard]] unsigned long take_first_error() noexcept;

}  // namespace fastpool::tls
