#include "tls/openssl.h"

#include <array>
#include <system_error>

#include <openssl/crypto.h>
#include <openssl/err.h>

#include "sync/atomics.h"

namespace fastpool::tls {

namespace {

constinit sync::Flag exit_handler_has_run;

void note_end() noexcept {
  exit_handler_has_run.set();
}

bool initialize_once() noexcept {
  return OPENSSL_init_ssl(0, nullptr) == 1 && OPENSSL_atexit(note_end) == 1;
}

}  // namespace

void initialize() noexcept {
  const OpenSslSection inside;
  [[maybe_unused]] static const bool done = initialize_once();
}

bool ended() noexcept {
  return exit_handler_has_run.get();
}

std::string reason_of(unsigned long code) {
  if (code == 0) return "unknown reason";
  if (ERR_SYSTEM_ERROR(code)) return std::generic_category().message(ERR_GET_REASON(code));
  if (const char* reason = ERR_reason_error_string(code); reason != nullptr) return reason;
  std::array<char, 256> text{};
  ERR_error_string_n(code, text.data(), text.size());
  return text.data();
}

unsigned long take_last_error() noexcept {
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  return code;
}

unsigned long take_first_error() noexcept {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  return code;
}

}  // namespace fastpool::tls
