#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <boost/beast/http/basic_parser.hpp>
#include <boost/version.hpp>

#include "h1/response_parser.h"

namespace fastpool::h1 {

/// What Boost.Beast tells of one message (one head, interim or final, and the framed body behind it), checked where
/// Beast is laxer than a shared connection can afford, and translated into plain values. Re-made for every message: Beast's
/// parser serves one only.
///
/// Beast itself refuses bad status lines, names and values, bare CRs, and most conflicts of framing. This class adds:
/// Content-Length twice or as a list even where the values agree, every transfer coding but "chunked", codes under 100,
/// control bytes in chunk extensions, and a bound on the line of a chunk's size.
///
/// Owned by ResponseParser, used under it on one thread. Never copies body bytes: piece() looks into the input.
class MessageReader final : public boost::beast::http::basic_parser<false> {
 public:
  enum class Framing : std::uint8_t { until_close, content_length, chunked };

  static constexpr std::size_t max_chunk_line_bytes = 16UL * 1024;  ///< the size of one chunk with its extensions

  /// \param head where status line and headers go; must outlive this object.
  MessageReader(ResponseHead& head, bool head_request);

  struct Outcome {
    std::size_t consumed = 0;
    bool need_more = false;
    const char* complaint = nullptr;  ///< what is wrong with the message, or null
  };
  /// Reads one whole head, from its status line to its empty line; `bytes` is exactly that.
  [[nodiscard]] Outcome read_head(std::string_view bytes);
  /// Reads one structural element of the body; the piece of body in it, if any, is piece(). Only while !is_done().
  [[nodiscard]] Outcome read_body(std::string_view bytes);

  [[nodiscard]] std::string_view piece() const noexcept { return piece_; }
  [[nodiscard]] Framing framing() const noexcept { return framing_; }
  /// Bytes of a content-length body that have not come yet.
  [[nodiscard]] std::uint64_t missing_bytes() const noexcept { return missing_bytes_; }
  /// Whether the headers allow another request behind this one (RFC 9112 section 9.3), its framing left aside.
  [[nodiscard]] bool keeps_alive() const noexcept;
  /// Whether the last chunk was seen: what follows are trailers.
  [[nodiscard]] bool in_trailers() const noexcept { return in_trailers_; }
  [[nodiscard]] long keep_alive_timeout() const noexcept { return keep_alive_timeout_; }
  [[nodiscard]] long keep_alive_max() const noexcept { return keep_alive_max_; }

 private:
  using error_code = boost::beast::error_code;
  using string_view = boost::beast::string_view;
  using field = boost::beast::http::field;

  void on_request_impl(boost::beast::http::verb, string_view, string_view, int, error_code&) override {}
  void on_response_impl(int status, string_view reason, int version, error_code& code) override;
  void on_field_impl(field id, string_view name, string_view value, error_code& code) override;
#if BOOST_VERSION >= 109000  // earlier releases report trailers by on_field_impl
  void on_trailer_field_impl(field, string_view, string_view, error_code&) override {}
#endif
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(string_view body, error_code&) override;
  void on_chunk_header_impl(std::uint64_t size, string_view extensions, error_code& code) override;
  std::size_t on_chunk_body_impl(std::uint64_t, string_view body, error_code&) override;
  void on_finish_impl(error_code&) override {}

  void complain(const char* complaint, error_code& code);
  [[nodiscard]] const char* read_framing(field id, std::string_view value);
  void read_connection(std::string_view value);
  void read_keep_alive(std::string_view value);
  [[nodiscard]] const char* explain_head(const error_code& code, std::string_view bytes) const;
  [[nodiscard]] const char* explain_body(const error_code& code, std::string_view bytes) const;
  [[nodiscard]] const char* check_waiting_chunk_line(std::string_view waiting) const;

  ResponseHead& head_;
  std::string_view piece_;
  const char* complaint_ = nullptr;
  std::uint64_t missing_bytes_ = 0;
  long keep_alive_timeout_ = -1;
  long keep_alive_max_ = -1;
  Framing framing_ = Framing::until_close;
  bool close_ = false;
  bool keep_alive_ = false;
  bool behind_chunk_ = false;  ///< the next chunk's size stands behind the CRLF that ends this one's data
  bool in_trailers_ = false;
};

}  // namespace fastpool::h1
