// br: Brotli (RFC 7932).

#include <brotli/decode.h>

#include "codings/codec.h"

namespace fastpool::codings {

namespace {

class Brotli final : public Codec {
 public:
  Brotli() noexcept : state_(::BrotliDecoderCreateInstance(nullptr, nullptr, nullptr)) {}
  ~Brotli() override { ::BrotliDecoderDestroyInstance(state_); }
  [[nodiscard]] bool started() const noexcept { return state_ != nullptr; }

  [[nodiscard]] Result<std::size_t> decode(std::string_view& input, std::span<char> output) override {
    if (complete()) {
      input = {};
      return 0U;
    }
    std::size_t left = input.size();
    const auto* next = reinterpret_cast<const std::uint8_t*>(input.data());
    std::size_t room = output.size();
    auto* out = reinterpret_cast<std::uint8_t*>(output.data());
    const auto result = ::BrotliDecoderDecompressStream(state_, &left, &next, &room, &out, nullptr);
    if (result == BROTLI_DECODER_RESULT_ERROR) {
      const BrotliDecoderErrorCode code = ::BrotliDecoderGetErrorCode(state_);
      if (code <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES && code >= BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES)
        return no_memory();
      return corrupt("br", ::BrotliDecoderErrorString(code));
    }
    input.remove_prefix(input.size() - left);
    return output.size() - room;
  }
  [[nodiscard]] bool complete() const noexcept override { return ::BrotliDecoderIsFinished(state_) == BROTLI_TRUE; }

 private:
  BrotliDecoderState* const state_;
};

}  // namespace

std::unique_ptr<Codec> make_brotli() {
  auto made = std::make_unique<Brotli>();
  return made->started() ? std::move(made) : nullptr;
}

}  // namespace fastpool::codings
