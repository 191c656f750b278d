#include "client/body_source.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <sys/stat.h>
#include <unistd.h>

namespace fastpool::client {

namespace {

constexpr std::size_t piece_size = 128UL * 1024;

Error cannot_read(int os_error) {
  return Error::make(ErrorCode::invalid_argument, Phase::write,
                     "the file of the body cannot be read: " + std::generic_category().message(os_error), os_error);
}

}  // namespace

Result<std::optional<std::uint64_t>> BodySource::size() {
  if (body_.kind() != Body::Kind::file) return body_.size();
  if (body_.size()) {
    file_size_ = *body_.size();
  } else {
    struct stat status{};
    if (::fstat(body_.descriptor(), &status) != 0) return cannot_read(errno);
    const auto whole = static_cast<std::uint64_t>(std::max<off_t>(status.st_size, 0));
    file_size_ = whole - std::min(whole, body_.offset());
  }
  return std::optional<std::uint64_t>(file_size_);
}

Result<std::string_view> BodySource::next() {
  buffer_.resize(piece_size);
  auto filled = body_.kind() == Body::Kind::file ? read_file(buffer_) : body_.pull_function()(buffer_);
  if (!filled) return std::move(filled).error();
  if (*filled > buffer_.size()) {
    return Error::make(ErrorCode::invalid_argument, Phase::write,
                       "the function of the body says that it wrote more than its buffer holds");
  }
  produced_ += *filled;
  return std::string_view(buffer_.data(), *filled);
}

Result<std::size_t> BodySource::read_file(std::span<char> buffer) {
  const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), file_size_ - produced_));
  if (wanted == 0) return std::size_t{0};
  for (;;) {
    const ssize_t got =
        ::pread(body_.descriptor(), buffer.data(), wanted, static_cast<off_t>(body_.offset() + produced_));
    if (got > 0) return static_cast<std::size_t>(got);
    if (got == 0)
      return Error::make(ErrorCode::local_protocol, Phase::write, "the file of the body is shorter than it was");
    if (errno != EINTR) return cannot_read(errno);
  }
}

bool BodySource::rewindable() const noexcept {
  return body_.kind() == Body::Kind::file || body_.rewind_function() != nullptr;
}

Result<void> BodySource::rewind() {
  produced_ = 0;
  return body_.kind() == Body::Kind::file ? Result<void>() : body_.rewind_function()();
}

}  // namespace fastpool::client
