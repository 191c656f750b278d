#pragma once

#include <cstdint>
#include <string_view>

#include <boost/beast/http/field.hpp>

namespace fastpool::h1 {

/// What the headers of a message say about its framing and about the connection behind it (RFC 9112 sections 6.3 and 9.3).
/// Reads one header after the other, however the head was parsed.
///
/// A message whose length another recipient could read differently is accepted, as httpx's own transport accepts it, but
/// marked doubtful: its connection carries no other request, so no byte of it can pass for another response.
struct MessageFacts {
  enum class Framing : std::uint8_t { until_close, content_length, chunked };

  Framing framing = Framing::until_close;
  bool doubtful = false;  ///< the message was read leniently: the connection must end with it
  bool close = false;
  bool keep_alive = false;
  std::uint64_t content_length = 0;  ///< where a Content-Length was seen, also beside Framing::chunked
  long keep_alive_timeout = -1;      ///< `Keep-Alive: timeout=` in seconds; -1 where absent or unreadable
  long keep_alive_max = -1;

  /// What note() made of a header.
  struct Noted {
    const char* complaint = nullptr;  ///< the header makes the message unreadable
    bool repeated = false;            ///< a Content-Length that was there before: not another header
    std::string_view value;           ///< as the head is to show it: one number for a list of equal lengths
  };
  /// Reads a header. \param value trimmed; the result may look into it.
  [[nodiscard]] Noted note(boost::beast::http::field name, std::string_view value);
  /// Whether the headers allow another request behind this message, whose version is HTTP/1.`version_minor`.
  [[nodiscard]] bool keeps_alive(int version_minor) const noexcept;

 private:
  [[nodiscard]] Noted note_length(std::string_view value);
  [[nodiscard]] const char* note_coding(std::string_view value);
  void note_connection(std::string_view value);
  void note_keep_alive(std::string_view value);

  std::size_t length_digits_ = 0;  // 0: no Content-Length yet
};

}  // namespace fastpool::h1
