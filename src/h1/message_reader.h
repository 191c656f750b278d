#pragma once

#include <cstdint>
#include <string_view>

#include <boost/beast/http/basic_parser.hpp>
#include <boost/version.hpp>

#include "h1/message_facts.h"
#include "h1/response_parser.h"

namespace fastpool::h1 {

/// What Boost.Beast tells of one head, interim or final, checked where Beast is laxer than a shared connection can afford,
/// and translated into plain values. Re-made for every message: Beast's parser serves one only.
///
/// Beast refuses bad status lines, names and values, bare CRs, and most conflicts of framing. This class adds every transfer
/// coding but "chunked" and codes under 100. What it refuses may still be read leniently; \see read_head_leniently.
///
/// Owned by ResponseParser, used under it on one thread.
class MessageReader final : public boost::beast::http::basic_parser<false> {
 public:
  /// \param head, facts where what the head says is written; both must outlive this object and be empty.
  MessageReader(ResponseHead& head, MessageFacts& facts);

  /// Reads one whole head, from its status line to its empty line; `bytes` is exactly that. Once.
  /// \returns what is wrong with the head, or null.
  [[nodiscard]] const char* read_head(std::string_view bytes);

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
  // Bodies are not read by Beast.
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(string_view, error_code&) override { return 0; }
  void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, string_view, error_code&) override { return 0; }
  void on_finish_impl(error_code&) override {}

  void complain(const char* complaint, error_code& code);
  [[nodiscard]] const char* explain(const error_code& code, std::string_view bytes) const;

  ResponseHead& head_;
  MessageFacts& facts_;
  const char* complaint_ = nullptr;
};

}  // namespace fastpool::h1
