#include <fastpool/error.h>

namespace fastpool {

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

}  // namespace fastpool
