// zstd (RFC 8878), with the window that RFC 9659 allows in HTTP.

#include <zstd.h>
#include <zstd_errors.h>

#include "codings/codec.h"

namespace fastpool::codings {

namespace {

constexpr int largest_window_log = 23;  // 8 MiB: RFC 9659 section 3

class Zstd final : public Codec {
 public:
  Zstd() noexcept : context_(::ZSTD_createDCtx()) {
    if (context_ != nullptr) (void)::ZSTD_DCtx_setParameter(context_, ZSTD_d_windowLogMax, largest_window_log);
  }
  ~Zstd() override { (void)::ZSTD_freeDCtx(context_); }
  [[nodiscard]] bool started() const noexcept { return context_ != nullptr; }

  [[nodiscard]] Result<std::size_t> decode(std::string_view& input, std::span<char> output) override {
    if (input.empty() && complete_) return 0U;
    ZSTD_inBuffer in{input.data(), input.size(), 0};
    ZSTD_outBuffer out{output.data(), output.size(), 0};
    const std::size_t wanted = ::ZSTD_decompressStream(context_, &out, &in);
    if (::ZSTD_isError(wanted) != 0) {
      if (::ZSTD_getErrorCode(wanted) == ZSTD_error_memory_allocation) return no_memory();
      return corrupt("zstd", ::ZSTD_getErrorName(wanted));
    }
    input.remove_prefix(in.pos);
    complete_ = wanted == 0;  // the end of a frame; another may follow (RFC 8878 section 3)
    return out.pos;
  }
  [[nodiscard]] bool complete() const noexcept override { return complete_; }

 private:
  ZSTD_DCtx* const context_;
  bool complete_ = false;
};

}  // namespace

std::unique_ptr<Codec> make_zstd() {
  auto made = std::make_unique<Zstd>();
  return made->started() ? std::move(made) : nullptr;
}

}  // namespace fastpool::codings
