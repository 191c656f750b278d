#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <fastpool/headers.h>
#include <fastpool/message.h>

namespace fastpool::h2 {

/// Why a stream ended without its response.
struct StreamFailure {
  std::uint32_t code = 0;     ///< of RFC 9113 section 7
  bool unread = false;        ///< the peer has proved that it did nothing with the request: it may be sent again
  bool unsent = false;        ///< nothing of it was sent; `unread` too
  bool goodbye = false;       ///< a GOAWAY after the peer had served other streams says so; `unread` too
  bool by_peer = false;       ///< a RST_STREAM, GOAWAY or broken connection of its; else it broke the protocol
  bool disconnected = false;  ///< the connection was lost
  std::string detail{};       ///< for people
};

/// One stream as the exchange sees it that owns it. It stays where it is while the session knows it (is_open()), and is read and
/// written by whoever may use the session.
class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() = default;

  /// Between Session::open() and its end or reset.
  [[nodiscard]] bool is_open() const noexcept { return open_; }
  [[nodiscard]] std::int32_t id() const noexcept { return id_; }

  // Of the response. What has been taken is the exchange's to clear.
  std::vector<ResponseHead> interim{};  ///< 1xx heads, in order
  ResponseHead head{};                  ///< once `has_head`
  bool has_head = false;
  std::string body{};  ///< what arrived and was not taken; at most a stream's window. \see Session::credit()
  HeaderList trailers{};
  bool ended = false;  ///< the response is complete: `body` holds the rest of it
  std::optional<StreamFailure> failure{};

  // Of the request's body.
  /// What is to be sent and was not; the exchange's bytes, which stay until they are gone.
  [[nodiscard]] std::string_view unsent() const noexcept { return unsent_; }
  /// Whether all of the request was handed over, or the peer has answered and wants no more of it.
  [[nodiscard]] bool sent() const noexcept { return (last_ && unsent_.empty()) || stopped_; }
  [[nodiscard]] bool stopped() const noexcept { return stopped_; }

 private:
  friend class Session;
  bool open_ = false;
  std::int32_t id_ = 0;
  bool changed_ = false;   // listed
  bool deferred_ = false;  // the session waits for more of the body
  bool head_pulled_ = false;
  bool last_ = false;
  bool stopped_ = false;
  std::string_view unsent_{};
  // The header block under way.
  enum class Block : std::uint8_t { none, head, trailers } block_ = Block::none;
  std::size_t block_bytes_ = 0;
  ResponseHead pending_{};
};

}  // namespace fastpool::h2
