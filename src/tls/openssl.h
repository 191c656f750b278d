#pragma once

/// \file
/// Owners for OpenSSL's objects and the words of its error queue. The queue belongs to the thread: whoever calls OpenSSL
/// clears it before, and leaves it empty behind.

#include <memory>
#include <string>

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

namespace fastpool::tls {

template <auto Free>
struct Freed {
  template <typename Object>
  void operator()(Object* object) const noexcept {
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
