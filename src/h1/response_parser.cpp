#include "h1/response_parser.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "h1/chunk_reader.h"
#include "h1/lenient_head.h"
#include "h1/message_facts.h"
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
///     head --> sized -----------> complete     Content-Length
///     head --> chunked ---------> complete     read by ChunkReader
///     head --> until_close -----> complete     only finish() completes it
///     head --> complete                        no body
///     any  --> failed
///
/// A head is parsed only when it is there in full, so that what comes out never depends on how the bytes were split, and
/// what need_more leaves behind is at most one head. It goes to the strict parser (Beast) first; the lenient one looks at
/// what that refuses, and at heads with lines that end in LF alone.
class ResponseParser::Impl {
 public:
  void start(bool head_request, bool report_interim) {
    stage_ = Stage::head;
    head_request_ = head_request;
    report_interim_ = report_interim;
    interim_reported_ = false;
    trailers_.clear();
    saw_bytes_ = false;
    ended_early_ = false;
    doubtful_ = false;
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
      case Stage::sized:
        return parse_sized(input);
      case Stage::chunked:
        return parse_chunked(input);
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
      case Stage::sized:
        if (missing_bytes_ != 0) {
          return end_early("the peer closed the connection " + std::to_string(missing_bytes_) +
                           " bytes before the end of the body");
        }
        break;
      case Stage::chunked:
        if (!chunks_.is_done()) return end_early("the peer closed the connection within a chunked body");
        break;
      case Stage::until_close:
      case Stage::complete:
        break;
      case Stage::failed:
        return {Event::error, 0, {}};
    }
    stage_ = Stage::complete;
    return {Event::end, 0, {}};
  }

  [[nodiscard]] std::uint64_t missing() const noexcept { return stage_ == Stage::sized ? missing_bytes_ : 0; }
  void skip(std::size_t bytes) noexcept { missing_bytes_ -= bytes; }

  [[nodiscard]] ResponseHead& head() noexcept { return head_; }
  [[nodiscard]] HeaderList& trailers() noexcept { return trailers_; }
  [[nodiscard]] bool saw_bytes() const noexcept { return saw_bytes_; }
  [[nodiscard]] bool reusable() const noexcept {
    return stage_ == Stage::complete && framed_ && !doubtful_ && !chunks_.doubtful() &&
           facts_.keeps_alive(head_.version_minor);
  }
  [[nodiscard]] bool ended_early() const noexcept { return ended_early_; }
  [[nodiscard]] long keep_alive_timeout() const noexcept { return facts_.keep_alive_timeout; }
  [[nodiscard]] long keep_alive_max() const noexcept { return facts_.keep_alive_max; }
  [[nodiscard]] const std::string& error_detail() const noexcept { return error_detail_; }

 private:
  enum class Stage : std::uint8_t { head, sized, chunked, until_close, complete, failed };

  void start_message() {
    head_.status = 0;
    head_.version_minor = 1;
    head_.reason.clear();
    head_.headers.clear();
    facts_ = {};
    framed_ = false;
    chunks_ = {};
    scanned_ = 0;
    bare_lf_ = false;
  }

  Step parse_head(std::string_view input) {
    std::size_t consumed = 0;
    if (std::exchange(interim_reported_, false)) start_message();
    while (true) {
      const std::string_view rest = input.substr(consumed);
      if (const char* const complaint = check_prefix(rest)) return fail(complaint, consumed);
      const std::size_t size = find_head_end(rest);
      if (counted_bytes_ + (size != 0 ? size : rest.size()) > max_head_bytes) return fail(too_large, consumed);
      if (size == 0) return {Event::need_more, consumed, {}};

      if (const char* const complaint = read_head(rest.substr(0, size))) return fail(complaint, consumed);
      consumed += size;
      counted_bytes_ += size;
      doubtful_ = doubtful_ || facts_.doubtful;
      if (head_.status >= 200 || head_.status == 101) break;
      if (++interim_heads_ > max_interim_heads) return fail("more than 100 interim (1xx) responses", consumed);
      if (report_interim_) {
        interim_reported_ = true;
        return {Event::interim, consumed, {}};
      }
      start_message();
    }
    enter_body();
    return {Event::head, consumed, {}};
  }

  const char* read_head(std::string_view bytes) {
    if (bare_lf_) return read_head_leniently(bytes, head_, facts_);
    const char* const complaint = MessageReader(head_, facts_).read_head(bytes);
    if (complaint == nullptr || read_head_leniently(bytes, head_, facts_) == nullptr) return nullptr;
    return complaint;
  }

  void enter_body() noexcept {
    framed_ = true;
    if (head_.status == 101) {  // what follows is another protocol's
      framed_ = false;
      stage_ = Stage::until_close;
    } else if (head_request_ || head_.status == 204 || head_.status == 304) {
      stage_ = Stage::complete;
    } else if (facts_.framing == MessageFacts::Framing::chunked) {
      stage_ = Stage::chunked;
    } else if (facts_.framing == MessageFacts::Framing::content_length) {
      missing_bytes_ = facts_.content_length;
      stage_ = missing_bytes_ == 0 ? Stage::complete : Stage::sized;
    } else {
      framed_ = false;
      stage_ = Stage::until_close;
    }
  }

  Step parse_sized(std::string_view input) {
    if (missing_bytes_ == 0) {
      stage_ = Stage::complete;
      return {Event::end, 0, {}};
    }
    if (input.empty()) return {};
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(missing_bytes_, input.size()));
    missing_bytes_ -= size;
    return {Event::body, size, input.substr(0, size)};
  }

  Step parse_chunked(std::string_view input) {
    std::size_t consumed = 0;
    while (!chunks_.is_done()) {
      const ChunkReader::Outcome outcome = chunks_.read(input.substr(consumed));
      if (outcome.complaint != nullptr) return fail(outcome.complaint, consumed);
      consumed += outcome.consumed;
      if (!chunks_.piece().empty()) return {Event::body, consumed, chunks_.piece()};
      if (chunks_.in_trailers()) counted_bytes_ += outcome.consumed;
      if (!outcome.trailer.name.empty()) trailers_.add(outcome.trailer.name, outcome.trailer.value);
      const std::size_t waiting = outcome.need_more ? input.size() - consumed : 0;
      if (counted_bytes_ + waiting > max_head_bytes) return fail(too_large, consumed);
      if (outcome.need_more) return {Event::need_more, consumed, {}};
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

  /// The size of the head at the front of `input`, its empty line included; 0 while that has not come.
  [[nodiscard]] std::size_t find_head_end(std::string_view input) noexcept {
    std::size_t position = std::min(scanned_, input.size());
    while (position < input.size()) {
      const void* const found = std::memchr(input.data() + position, '\n', input.size() - position);
      if (found == nullptr) break;
      const auto index = static_cast<std::size_t>(static_cast<const char*>(found) - input.data());
      // The prefix has been checked: two bytes stand before the first LF.
      const bool bare = input[index - 1] != '\r';
      bare_lf_ = bare_lf_ || bare;
      if (input[bare ? index - 1 : index - 2] == '\n') return index + 1;
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

  ResponseHead head_;
  HeaderList trailers_;
  MessageFacts facts_;
  ChunkReader chunks_;
  std::string error_detail_;
  std::uint64_t missing_bytes_ = 0;  ///< of a body of known length
  std::size_t scanned_ = 0;          ///< bytes of the waiting head already searched for its end
  std::size_t counted_bytes_ = 0;    ///< heads so far, interim ones included, and trailers: what max_head_bytes bounds
  int interim_heads_ = 0;
  Stage stage_ = Stage::head;
  bool head_request_ = false;
  bool report_interim_ = false;
  bool interim_reported_ = false;  ///< head_ is one that was reported: the next message begins with the next parse()
  bool saw_bytes_ = false;
  bool ended_early_ = false;
  bool bare_lf_ = false;   ///< a line of the head that is waiting ends in LF alone
  bool framed_ = false;    ///< the response says where it ends
  bool doubtful_ = false;  ///< a head, interim ones included, was read leniently
};

ResponseParser::ResponseParser() : impl_(std::make_unique<Impl>()) {
  impl_->start(false, false);
}
ResponseParser::~ResponseParser() = default;
ResponseParser::ResponseParser(ResponseParser&&) noexcept = default;
ResponseParser& ResponseParser::operator=(ResponseParser&&) noexcept = default;

void ResponseParser::start(bool head_request, bool report_interim) {
  impl_->start(head_request, report_interim);
}
ResponseParser::Step ResponseParser::parse(std::string_view input) {
  return impl_->parse(input);
}
std::uint64_t ResponseParser::missing() const noexcept {
  return impl_->missing();
}
void ResponseParser::skip(std::size_t bytes) noexcept {
  impl_->skip(bytes);
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
HeaderList& ResponseParser::trailers() noexcept {
  return impl_->trailers();
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
