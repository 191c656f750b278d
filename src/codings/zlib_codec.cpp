// gzip (RFC 1952), zlib (RFC 1950) and bare deflate (RFC 1951).

#include <algorithm>
#include <limits>
#include <new>

#include <zlib.h>

#include "codings/codec.h"

namespace fastpool::codings {

namespace {

constexpr int largest_window = 15;
constexpr int with_gzip_header = 16;
constexpr unsigned char gzip_magic = 0x1f;

class Zlib : public Codec {
 public:
  Zlib(std::string_view name, int window) noexcept : name_(name), started_(::inflateInit2(&stream_, window) == Z_OK) {}
  ~Zlib() override {
    if (started_) (void)::inflateEnd(&stream_);
  }
  [[nodiscard]] bool started() const noexcept { return started_; }

  [[nodiscard]] Result<std::size_t> decode(std::string_view& input, std::span<char> output) override {
    if (complete_) {
      input = {};  // what follows the end is ignored, as browsers do
      return 0U;
    }
    constexpr std::size_t most = std::numeric_limits<uInt>::max();
    const std::size_t given = std::min(input.size(), most);
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));  // NOLINT: zlib does not write to it
    stream_.avail_in = static_cast<uInt>(given);
    stream_.next_out = reinterpret_cast<Bytef*>(output.data());
    stream_.avail_out = static_cast<uInt>(std::min(output.size(), most));
    const uInt room = stream_.avail_out;
    const int status = ::inflate(&stream_, Z_NO_FLUSH);
    const std::size_t taken = given - stream_.avail_in;
    const std::size_t produced = room - stream_.avail_out;
    if (status == Z_MEM_ERROR) return no_memory();
    if (status != Z_OK && status != Z_STREAM_END && status != Z_BUF_ERROR) {
      return corrupt(name_, stream_.msg != nullptr ? stream_.msg : "");
    }
    input.remove_prefix(taken);
    complete_ = status == Z_STREAM_END;
    return produced;
  }
  [[nodiscard]] bool complete() const noexcept override { return complete_; }

 protected:
  /// Expects another stream of the same format.
  void begin_again() noexcept { complete_ = ::inflateReset(&stream_) != Z_OK; }

 private:
  const std::string_view name_;
  z_stream stream_{};
  const bool started_;
  bool complete_ = false;
};

/// A gzip file is a series of members (RFC 1952 section 2.2).
class Gzip final : public Zlib {
 public:
  Gzip() noexcept : Zlib("gzip", largest_window + with_gzip_header) {}
  [[nodiscard]] Result<std::size_t> decode(std::string_view& input, std::span<char> output) override {
    if (complete() && !input.empty() && static_cast<unsigned char>(input.front()) == gzip_magic) begin_again();
    return Zlib::decode(input, output);
  }
};

/// The first byte tells zlib's header from bare deflate: its low half is 8, "deflate", which as the first byte of bare data would be
/// a stored block with set padding bits (RFC 1950 section 2.2, RFC 1951 section 3.2.3).
class Deflate final : public Codec {
 public:
  [[nodiscard]] Result<std::size_t> decode(std::string_view& input, std::span<char> output) override {
    if (!codec_) {
      if (input.empty()) return 0U;
      constexpr unsigned method_bits = 0x0f;
      constexpr unsigned method_deflate = 8;
      const bool wrapped = (static_cast<unsigned char>(input.front()) & method_bits) == method_deflate;
      codec_ = std::make_unique<Zlib>("deflate", wrapped ? largest_window : -largest_window);
    }
    if (!codec_->started()) return no_memory();
    return codec_->decode(input, output);
  }
  [[nodiscard]] bool complete() const noexcept override { return codec_ && codec_->complete(); }

 private:
  std::unique_ptr<Zlib> codec_;
};

}  // namespace

std::unique_ptr<Codec> make_gzip() {
  auto made = std::make_unique<Gzip>();
  return made->started() ? std::move(made) : nullptr;
}

std::unique_ptr<Codec> make_deflate() {
  return std::make_unique<Deflate>();
}

}  // namespace fastpool::codings
