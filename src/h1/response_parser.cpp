#include "h1/response_parser.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "h1/message_reader.h"

namespace fastpool::h1 {
namespace {

constexpr std::string_view version_prefix = "HTTP/1.";
constexpr int max_interim_heads = 100;
constexpr const char* too_large = "status line, headers and trailers over 256 KiB";

}  // namespace

/// The course of one response:
///
///     head --(1xx)--> head
///     head --> body ------------> complete     content-length and chunked, read by MessageReader
///     head --> until_close -----> complete     only finish() completes it
///     head --> complete                        no body
///     any  --> failed
///
/// A head goes to Beast only when it is there in full, so that what comes out never depends on how the bytes were
/// split, and what need_more leaves behind is at most one head.
// NOLINTBEGIN(bugprone-unchecked-optional-access): start(), called before all else, always makes a reader
class ResponseParser::Impl {
 public:
  void start(bool head_request) {
    stage_ = Stage::head;
    head_request_ = head_request;
    saw_bytes_ = false;
    ended_early_ = false;
    persistent_ = false;
    interim_heads_ = 0;
    counted_bytes_ = 0;
    error_detail_.clear();
    start_message();
  }

  Step parse(std::string_view input) {
    saw_bytes_ = saw_bytes_ || !input.empty();
    switch (stage_) {
      case Stage::head:
        return parse_head(input);
      case Stage::body:
        return parse_body(input);
      case Stage::until_close:
        if (input.empty()) return {};
        return {Event::body, input.size(), input};
      case Stage::complete:
        return {Event::end, 0, {}};
      case Stage::failed:
        break;
    }
    return {Event::error, 0, {}};
  }

  Step finish() {
    switch (stage_) {
      case Stage::head:
        return end_early(saw_bytes_ ? "the peer closed the connection within the head of the response"
                                    : "the peer closed the connection before it sent any byte of a response");
      case Stage::body:
        if (!reader_->is_done()) return end_early_within_body();
        stage_ = Stage::complete;
        break;
      case Stage::until_close:
        stage_ = Stage::complete;
        break;
      case Stage::complete:
        break;
      case Stage::failed:
        return {Event::error, 0, {}};
    }
    return {Event::end, 0, {}};
  }

  [[nodiscard]] ResponseHead& head() noexcept { return head_; }
  [[nodiscard]] bool saw_bytes() const noexcept { return saw_bytes_; }
  [[nodiscard]] bool reusable() const noexcept { return stage_ == Stage::complete && persistent_; }
  [[nodiscard]] bool ended_early() const noexcept { return ended_early_; }
  [[nodiscard]] long keep_alive_timeout() const noexcept { return reader_->keep_alive_timeout(); }
  [[nodiscard]] long keep_alive_max() const noexcept { return reader_->keep_alive_max(); }
  [[nodiscard]] const std::string& error_detail() const noexcept { return error_detail_; }

 private:
  enum class Stage : std::uint8_t { head, body, until_close, complete, failed };

  void start_message() {
    head_.status = 0;
    head_.version_minor = 1;
    head_.reason.clear();
    head_.headers.clear();
    scanned_ = 0;
    reader_.emplace(head_, head_request_);
  }

  Step parse_head(std::string_view input) {
    std::size_t consumed = 0;
    while (true) {
      const std::string_view rest = input.substr(consumed);
      if (const char* const complaint = check_prefix(rest)) return fail(complaint, consumed);
      const std::optional<std::size_t> size = find_head_end(rest);
      if (!size) return fail("a line of the head ends in LF without CR", consumed);
      if (counted_bytes_ + (*size != 0 ? *size : rest.size()) > max_head_bytes) return fail(too_large, consumed);
      if (*size == 0) return {Event::need_more, consumed, {}};

      const MessageReader::Outcome outcome = reader_->read_head(rest.substr(0, *size));
      if (outcome.complaint != nullptr) return fail(outcome.complaint, consumed);
      consumed += *size;
      counted_bytes_ += *size;
      if (head_.status >= 200 || head_.status == 101) break;
      if (++interim_heads_ > max_interim_heads) return fail("more than 100 interim (1xx) responses", consumed);
      start_message();
    }
    enter_body();
    return {Event::head, consumed, {}};
  }

  void enter_body() noexcept {
    // Beast takes a 101 for a message without a body; what follows it is another protocol's.
    if (head_.status == 101 || (!reader_->is_done() && reader_->framing() == MessageReader::Framing::until_close)) {
      stage_ = Stage::until_close;
      return;
    }
    stage_ = reader_->is_done() ? Stage::complete : Stage::body;
    persistent_ = reader_->keeps_alive();
  }

  Step parse_body(std::string_view input) {
    std::size_t consumed = 0;
    while (!reader_->is_done()) {
      if (consumed == input.size()) return {Event::need_more, consumed, {}};
      const MessageReader::Outcome outcome = reader_->read_body(input.substr(consumed));
      if (outcome.complaint != nullptr) return fail(outcome.complaint, consumed);
      consumed += outcome.consumed;
      const std::size_t waiting = outcome.need_more ? input.size() - consumed : 0;
      // Only the framing of chunks and the trailers ever wait; trailers are consumed whole.
      if (counted_bytes_ + (reader_->in_trailers() ? outcome.consumed : waiting) > max_head_bytes) {
        return fail(too_large, consumed);
      }
      if (outcome.need_more) return {Event::need_more, consumed, {}};
      if (!reader_->piece().empty()) return {Event::body, consumed, reader_->piece()};
    }
    stage_ = Stage::complete;
    return {Event::end, consumed, {}};
  }

  [[nodiscard]] static const char* check_prefix(std::string_view input) noexcept {
    const std::size_t size = std::min(input.size(), version_prefix.size());
    if (input.substr(0, size) == version_prefix.substr(0, size)) return nullptr;
    constexpr std::string_view name = "HTTP/";
    return input.starts_with(name) ? "an HTTP version other than 1.0 and 1.1" : "bytes that are no HTTP/1.1 response";
  }

  /// The size of the head at the front of `input`, 0 while its end has not come; nothing if a line ends in LF alone.
  [[nodiscard]] std::optional<std::size_t> find_head_end(std::string_view input) noexcept {
    std::size_t position = std::min(scanned_, input.size());
    while (position < input.size()) {
      const void* const found = std::memchr(input.data() + position, '\n', input.size() - position);
      if (found == nullptr) break;
      const auto index = static_cast<std::size_t>(static_cast<const char*>(found) - input.data());
      if (input[index - 1] != '\r') return std::nullopt;  // index > 0: the prefix has been checked
      if (input[index - 2] == '\n') return index + 1;
      position = index + 1;
    }
    scanned_ = input.size();
    return 0;
  }

  Step fail(std::string_view complaint, std::size_t consumed) {
    stage_ = Stage::failed;
    error_detail_ = complaint;
    return {Event::error, consumed, {}};
  }

  Step end_early(std::string_view complaint) {
    ended_early_ = true;
    return fail(complaint, 0);
  }

  Step end_early_within_body() {
    if (reader_->framing() == MessageReader::Framing::chunked) {
      return end_early("the peer closed the connection within a chunked body");
    }
    return end_early("the peer closed the connection " + std::to_string(reader_->missing_bytes()) +
                     " bytes before the end of the body");
  }

  ResponseHead head_;
  std::optional<MessageReader> reader_;
  std::string error_detail_;
  std::size_t scanned_ = 0;        ///< bytes of the waiting head already searched for its end
  std::size_t counted_bytes_ = 0;  ///< heads so far, interim ones included: what max_head_bytes bounds
  int interim_heads_ = 0;
  Stage stage_ = Stage::head;
  bool head_request_ = false;
  bool saw_bytes_ = false;
  bool ended_early_ = false;
  bool persistent_ = false;
};
// NOLINTEND(bugprone-unchecked-optional-access)

ResponseParser::ResponseParser() : impl_(std::make_unique<Impl>()) {
  impl_->start(false);
}
ResponseParser::~ResponseParser() = default;
ResponseParser::ResponseParser(ResponseParser&&) noexcept = default;
ResponseParser& ResponseParser::operator=(ResponseParser&&) noexcept = default;

void ResponseParser::start(bool head_request) {
  impl_->start(head_request);
}
ResponseParser::Step ResponseParser::parse(std::string_view input) {
  return impl_->parse(input);
}
ResponseParser::Step ResponseParser::finish() {
  return impl_->finish();
}
const ResponseHead& ResponseParser::head() const noexcept {
  return impl_->head();
}
ResponseHead& ResponseParser::head() noexcept {
  return impl_->head();
}
bool ResponseParser::saw_bytes() const noexcept {
  return impl_->saw_bytes();
}
bool ResponseParser::reusable() const noexcept {
  return impl_->reusable();
}
bool ResponseParser::ended_early() const noexcept {
  return impl_->ended_early();
}
long ResponseParser::keep_alive_timeout() const noexcept {
  return impl_->keep_alive_timeout();
}
long ResponseParser::keep_alive_max() const noexcept {
  return impl_->keep_alive_max();
}
const std::string& ResponseParser::error_detail() const noexcept {
  return impl_->error_detail();
}

}  // namespace fastpool::h1
