#include <fastpool/error.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include <fastpool/result.h>

namespace fastpool::inline v1 {
namespace {

// An error_code of value 0 is success, so the first ErrorCode is 1 there.
int value_of(ErrorCode code) noexcept {
  return static_cast<int>(code) + 1;
}
ErrorCode code_of(int value) noexcept {
  return static_cast<ErrorCode>(value - 1);
}

class Category final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "fastpool"; }
  [[nodiscard]] std::string message(int code) const override { return std::string(to_string(code_of(code))); }
  [[nodiscard]] std::error_condition default_error_condition(int code) const noexcept override {
    switch (code_of(code)) {
      case ErrorCode::invalid_argument:
        return std::errc::invalid_argument;
      case ErrorCode::unsupported:
        return std::errc::not_supported;
      case ErrorCode::pool_timeout:
      case ErrorCode::connect_timeout:
      case ErrorCode::write_timeout:
      case ErrorCode::read_timeout:
      case ErrorCode::total_timeout:
        return std::errc::timed_out;
      case ErrorCode::local_protocol:
      case ErrorCode::remote_protocol:
        return std::errc::protocol_error;
      case ErrorCode::interrupted:
        return std::errc::interrupted;
      case ErrorCode::out_of_memory:
        return std::errc::not_enough_memory;
      case ErrorCode::cancelled:
        return std::errc::operation_canceled;
      case ErrorCode::body_too_large:
        return std::errc::message_size;
      default:
        return {code, *this};
    }
  }
};

}  // namespace

const std::error_category& error_category() noexcept {
  static const Category category;
  return category;
}

std::error_code make_error_code(ErrorCode code) noexcept {
  return {value_of(code), error_category()};
}

void detail::abort_on_misused_result(const Error* error) noexcept {
  if (error == nullptr) {
    std::fputs("fastpool: the error of a Result that holds a value was taken\n", stderr);
  } else {
    std::fprintf(stderr, "fastpool: the value of a Result that holds an error was taken: %s: %s\n",
                 std::string(to_string(error->code)).c_str(), error->detail.c_str());
  }
  std::abort();
}

std::string_view to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::stale_lease:
      return "stale_lease";
    case ErrorCode::pool_timeout:
      return "pool_timeout";
    case ErrorCode::pool_closed:
      return "pool_closed";
    case ErrorCode::forked:
      return "forked";
    case ErrorCode::resolve_failed:
      return "resolve_failed";
    case ErrorCode::connect_failed:
      return "connect_failed";
    case ErrorCode::connect_timeout:
      return "connect_timeout";
    case ErrorCode::tls_failed:
      return "tls_failed";
    case ErrorCode::write_failed:
      return "write_failed";
    case ErrorCode::write_timeout:
      return "write_timeout";
    case ErrorCode::read_failed:
      return "read_failed";
    case ErrorCode::read_timeout:
      return "read_timeout";
    case ErrorCode::local_protocol:
      return "local_protocol";
    case ErrorCode::remote_protocol:
      return "remote_protocol";
    case ErrorCode::interrupted:
      return "interrupted";
    case ErrorCode::out_of_memory:
      return "out_of_memory";
    case ErrorCode::total_timeout:
      return "total_timeout";
    case ErrorCode::cancelled:
      return "cancelled";
    case ErrorCode::body_too_large:
      return "body_too_large";
    case ErrorCode::proxy_failed:
      return "proxy_failed";
  }
  return "unknown";
}

std::string_view to_string(Phase phase) noexcept {
  switch (phase) {
    case Phase::none:
      return "none";
    case Phase::acquire:
      return "acquire";
    case Phase::resolve:
      return "resolve";
    case Phase::connect:
      return "connect";
    case Phase::tls_handshake:
      return "tls_handshake";
    case Phase::write:
      return "write";
    case Phase::read_head:
      return "read_head";
    case Phase::read_body:
      return "read_body";
  }
  return "unknown";
}

}  // namespace fastpool::inline v1
