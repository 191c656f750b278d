#include <fastpool/decode.h>

#include <algorithm>
#include <array>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "codings/codec.h"

namespace fastpool::codings {

namespace {

constexpr std::size_t most_codings = 5;  // as curl: each multiplies the work
constexpr std::size_t buffer_size = 64UL * 1024;

struct Named {
  std::string_view name;
  std::unique_ptr<Codec> (*make)();
};
constexpr std::array<Named, 6> codecs{{{"gzip", make_gzip},
                                       {"x-gzip", make_gzip},
                                       {"deflate", make_deflate},
                                       {"br", make_brotli},
                                       {"zstd", make_zstd},
                                       {"identity", nullptr}}};

/// One coding, with what it has yet to decode and where it puts that.
struct Stage {
  std::unique_ptr<Codec> codec;
  std::vector<char> buffer;
  std::string_view input{};
  bool full = false;  // the buffer was: there may be more without further input
};

std::string_view trimmed(std::string_view text) noexcept {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// All values of Content-Encoding, which are one list (RFC 9110 section 5.3).
std::string codings_of(const HeaderList& headers) {
  std::string codings;
  for (const std::string_view value : headers.all("content-encoding"))
    codings.append(codings.empty() ? "" : ",").append(value);
  return codings;
}

}  // namespace

Error no_memory() {
  return Error::make(ErrorCode::out_of_memory, Phase::read_body, "no memory to decode");
}

Error corrupt(std::string_view coding, std::string_view why) {
  std::string detail = "the body is not valid " + std::string(coding);
  if (!why.empty()) detail += ": " + std::string(why);
  return Error::make(ErrorCode::remote_protocol, Phase::read_body, std::move(detail));
}

}  // namespace fastpool::codings

namespace fastpool::inline v1 {

using codings::Stage;

struct Decoder::State {
  explicit State(const DecodeLimits& chosen) noexcept : limits(chosen) {}

  const DecodeLimits limits;
  std::vector<Stage> stages;  // in the order of decoding: the coding that was applied last comes first
  std::string_view fed{};
  std::uint64_t encoded = 0;
  std::uint64_t decoded = 0;
  std::optional<Error> failed;

  [[nodiscard]] Result<void> add(std::string_view name);
  [[nodiscard]] Result<std::string_view> output_of(std::size_t stages_done);
  [[nodiscard]] std::optional<Error> count(std::size_t bytes);
};

Result<void> Decoder::State::add(std::string_view name) {
  const auto known = std::ranges::find_if(
      codings::codecs, [name](const codings::Named& each) { return equals_ignoring_case(each.name, name); });
  if (known == codings::codecs.end()) {
    return Error::make(ErrorCode::unsupported, Phase::read_body,
                       "the content coding '" + std::string(name) + "' is not known");
  }
  if (known->make == nullptr) return {};
  if (stages.size() == codings::most_codings) {
    return Error::make(ErrorCode::unsupported, Phase::read_body,
                       "more than " + std::to_string(codings::most_codings) + " content codings");
  }
  Stage stage{known->make(), std::vector<char>(codings::buffer_size)};
  if (!stage.codec) return codings::no_memory();
  stages.insert(stages.begin(), std::move(stage));
  return {};
}

// What the first stages give for the input that there is; empty: more must be fed.
Result<std::string_view> Decoder::State::output_of(std::size_t stages_done) {
  if (stages_done == 0) return std::exchange(fed, {});
  Stage& stage = stages[stages_done - 1];
  for (;;) {
    if (stage.input.empty() && !stage.full) {
      auto input = output_of(stages_done - 1);
      if (!input || input->empty()) return input;
      stage.input = *input;
    }
    auto produced = stage.codec->decode(stage.input, stage.buffer);
    if (!produced) return std::move(produced).error();
    stage.full = *produced == stage.buffer.size();
    if (*produced != 0) return std::string_view(stage.buffer.data(), *produced);
  }
}

std::optional<Error> Decoder::State::count(std::size_t bytes) {
  decoded += bytes;
  if (decoded > limits.max_size) {
    return Error::make(ErrorCode::body_too_large, Phase::read_body,
                       "the decoded body is larger than the " + std::to_string(limits.max_size) + " bytes allowed");
  }
  if (!stages.empty() && decoded > limits.free_size && decoded / limits.max_ratio > encoded) {
    return Error::make(
        ErrorCode::body_too_large, Phase::read_body,
        "the decoded body is more than " + std::to_string(limits.max_ratio) + " times as large as the encoded one");
  }
  return std::nullopt;
}

Decoder::Decoder(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Decoder::Decoder(Decoder&&) noexcept = default;
Decoder& Decoder::operator=(Decoder&&) noexcept = default;
Decoder::~Decoder() = default;

Result<Decoder> Decoder::make(std::string_view codings, const DecodeLimits& limits) {
  try {
    auto state = std::make_unique<State>(limits);
    while (!codings.empty()) {
      const std::size_t comma = std::min(codings.find(','), codings.size());
      const std::string_view name = codings::trimmed(codings.substr(0, comma));
      codings.remove_prefix(std::min(comma + 1, codings.size()));
      if (name.empty()) continue;  // RFC 9110 section 5.6.1.2
      if (auto added = state->add(name); !added) return std::move(added).error();
    }
    return Decoder(std::move(state));
  } catch (const std::bad_alloc&) {
    return codings::no_memory();
  }
}

void Decoder::feed(std::string_view piece) noexcept {
  state_->fed = piece;
  state_->encoded += piece.size();
}

Result<std::string_view> Decoder::next() {
  if (state_->failed) return *state_->failed;
  auto output = state_->output_of(state_->stages.size());
  if (output) {
    if (state_->failed = state_->count(output->size()); !state_->failed) return output;
  } else {
    state_->failed = std::move(output).error();
  }
  return *state_->failed;
}

Result<void> Decoder::finish() {
  if (state_->failed) return *state_->failed;
  const bool whole = state_->encoded == 0 ||
                     std::ranges::all_of(state_->stages, [](const Stage& stage) { return stage.codec->complete(); });
  if (!whole) state_->failed = Error::make(ErrorCode::remote_protocol, Phase::read_body, "the encoded body ends early");
  if (state_->failed) return *state_->failed;
  return {};
}

Result<void> decode(Response& response, const DecodeLimits& limits) {
  try {
    const std::string codings = codings::codings_of(response.headers);
    if (codings.empty()) return {};
    auto decoder = Decoder::make(codings, limits);
    if (!decoder) return std::move(decoder).error();
    decoder->feed(response.body);
    std::string body;
    for (;;) {
      const auto piece = decoder->next();
      if (!piece) return piece.error();
      if (piece->empty()) break;
      body.append(*piece);
    }
    if (auto finished = decoder->finish(); !finished) return finished;
    HeaderList headers;
    headers.reserve(response.headers.size(), response.headers.byte_size());
    for (const Header& header : response.headers) {
      if (!equals_ignoring_case(header.name, "content-encoding") &&
          !equals_ignoring_case(header.name, "content-length"))
        headers.add(header.name, header.value);
    }
    response.headers = std::move(headers);
    response.body = std::move(body);
    return {};
  } catch (const std::bad_alloc&) {
    return codings::no_memory();
  }
}

DecodedStream::DecodedStream(Stream& stream, Decoder decoder) noexcept
    : stream_(&stream), decoder_(std::move(decoder)) {}

Result<DecodedStream> DecodedStream::make(Stream& stream, const DecodeLimits& limits) {
  try {
    auto decoder = Decoder::make(codings::codings_of(stream.head().headers), limits);
    if (!decoder) return std::move(decoder).error();
    return DecodedStream(stream, std::move(decoder).value());
  } catch (const std::bad_alloc&) {
    return codings::no_memory();
  }
}

Result<std::string_view> DecodedStream::read() {
  for (;;) {
    auto decoded = decoder_.next();
    if (!decoded || !decoded->empty() || ended_) return decoded;
    auto piece = stream_->read();
    if (!piece) return piece;
    if (!piece->empty()) {
      decoder_.feed(*piece);
      continue;
    }
    if (auto finished = decoder_.finish(); !finished) return std::move(finished).error();
    ended_ = true;
  }
}

}  // namespace fastpool::inline v1
