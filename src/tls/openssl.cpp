#include "tls/openssl.h"

#include <array>
#include <system_error>

#include <openssl/err.h>

namespace fastpool::tls {

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
