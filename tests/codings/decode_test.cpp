// fastpool::decode: content codings, their limits, and bodies that are not what they claim.

#include <array>
#include <string>
#include <vector>

#include <brotli/encode.h>
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <fastpool/client.h>
#include <fastpool/decode.h>

#include "client/client_fixture.h"

namespace fastpool::codings::test {
namespace {

std::string zlib_coded(std::string_view text, int window) {
  z_stream stream{};
  EXPECT_EQ(::deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string coded(::deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(coded.data());
  stream.avail_out = static_cast<uInt>(coded.size());
  EXPECT_EQ(::deflate(&stream, Z_FINISH), Z_STREAM_END);
  coded.resize(stream.total_out);
  ::deflateEnd(&stream);
  return coded;
}

std::string gzip(std::string_view text) {
  return zlib_coded(text, 15 + 16);
}

std::string br(std::string_view text) {
  std::string coded(::BrotliEncoderMaxCompressedSize(text.size()) + 16, '\0');
  std::size_t size = coded.size();
  EXPECT_EQ(::BrotliEncoderCompress(5, BROTLI_DEFAULT_WINDOW, BROTLI_MODE_GENERIC, text.size(),
                                    reinterpret_cast<const std::uint8_t*>(text.data()), &size,
                                    reinterpret_cast<std::uint8_t*>(coded.data())),
            BROTLI_TRUE);
  coded.resize(size);
  return coded;
}

std::string zstd(std::string_view text, int window_log = 0) {
  ZSTD_CCtx* const context = ::ZSTD_createCCtx();
  if (window_log != 0) {
    ::ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, window_log);
    ::ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
  }
  std::string coded(::ZSTD_compressBound(text.size()), '\0');
  ZSTD_inBuffer in{text.data(), text.size(), 0};
  ZSTD_outBuffer out{coded.data(), coded.size(), 0};
  // In two steps, so that the encoder cannot know the size.
  EXPECT_FALSE(::ZSTD_isError(::ZSTD_compressStream2(context, &out, &in, ZSTD_e_continue)));
  EXPECT_EQ(::ZSTD_compressStream2(context, &out, &in, ZSTD_e_end), 0U);
  coded.resize(out.pos);
  ::ZSTD_freeCCtx(context);
  return coded;
}

struct Coding {
  const char* name;
  std::string (*encode)(std::string_view);
};
void PrintTo(const Coding& coding, std::ostream* out) {
  *out << coding.name;
}

const std::array<Coding, 5> codings{{{"gzip", gzip},
                                     {"deflate", [](std::string_view text) { return zlib_coded(text, 15); }},
                                     {"Deflate", [](std::string_view text) { return zlib_coded(text, -15); }},  // bare
                                     {"br", br},
                                     {"zstd", [](std::string_view text) { return zstd(text); }}}};

/// Text of several buffers that compresses, but not to nothing.
std::string long_text() {
  std::string text;
  std::uint32_t state = 1;
  while (text.size() < 300'000) {
    state = state * 1664525 + 1013904223;
    text += "word" + std::to_string(state % 5000) + ' ';
  }
  return text;
}

/// Feeds the body in pieces of that size. The result's value is the decoded body.
Result<std::string> decoded(std::string_view names, std::string_view body, std::size_t piece_size,
                            const DecodeLimits& limits = {}) {
  auto decoder = Decoder::make(names, limits);
  if (!decoder) return std::move(decoder).error();
  std::string text;
  while (!body.empty()) {
    decoder->feed(body.substr(0, piece_size));
    body.remove_prefix(std::min(piece_size, body.size()));
    for (;;) {
      const auto piece = decoder->next();
      if (!piece) return piece.error();
      if (piece->empty()) break;
      text += *piece;
    }
  }
  if (const auto finished = decoder->finish(); !finished) return finished.error();
  return text;
}

class EachCoding : public ::testing::TestWithParam<Coding> {};
INSTANTIATE_TEST_SUITE_P(Decoder, EachCoding, ::testing::ValuesIn(codings),
                         [](const auto& each) { return each.index == 2 ? "bare_deflate" : each.param.name; });

TEST_P(EachCoding, is_decoded_however_it_is_cut) {
  for (const std::string& text : {std::string("hello"), long_text(), std::string()}) {
    const std::string body = GetParam().encode(text);
    for (const std::size_t size : {std::size_t{1}, std::size_t{7}, std::size_t{10'000}, body.size()})
      EXPECT_EQ(*decoded(GetParam().name, body, size), text) << "in pieces of " << size;
  }
}

TEST_P(EachCoding, that_ends_early_is_an_error) {
  const std::string body = GetParam().encode(long_text());
  const auto result = decoded(GetParam().name, std::string_view(body).substr(0, body.size() / 2), 1000);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::remote_protocol);
  EXPECT_EQ(result.error().phase, Phase::read_body);
}

TEST_P(EachCoding, of_other_bytes_is_an_error_that_stays) {
  auto decoder = Decoder::make(GetParam().name);
  ASSERT_TRUE(decoder.ok());
  decoder->feed("\xff\xfe this is no such coding, whatever the header says");
  auto error = decoder->next();
  while (error.ok() && !error->empty())
    error = decoder->next();
  if (error.ok()) {
    EXPECT_FALSE(decoder->finish().ok());
  } else {
    EXPECT_EQ(error.error().code, ErrorCode::remote_protocol);
    EXPECT_EQ(decoder->next().error().code, ErrorCode::remote_protocol);
    EXPECT_EQ(decoder->finish().error().code, ErrorCode::remote_protocol);
  }
}

TEST_P(EachCoding, without_a_byte_is_complete) {
  EXPECT_EQ(*decoded(GetParam().name, "", 1), "") << "a response to HEAD";
}

TEST_P(EachCoding, that_grows_beyond_the_ratio_is_refused) {
  const std::string body = GetParam().encode(std::string(40'000'000, 'a'));
  const auto result = decoded(GetParam().name, body, 10'000);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, ErrorCode::body_too_large);
  EXPECT_EQ(decoded(GetParam().name, body, 10'000, {.max_ratio = DecodeLimits::unlimited})->size(), 40'000'000U);
  EXPECT_EQ(decoded(GetParam().name, body, 10'000, {.free_size = 40'000'000})->size(), 40'000'000U);
}

TEST_P(EachCoding, that_is_larger_than_the_limit_is_refused) {
  const std::string body = GetParam().encode(long_text());
  EXPECT_EQ(decoded(GetParam().name, body, 1000, {.max_size = 299'999}).error().code, ErrorCode::body_too_large);
  EXPECT_EQ(*decoded(GetParam().name, body, 1000, {.max_size = long_text().size()}), long_text());
}

TEST(Decoder, several_codings_are_undone_from_the_last_to_the_first) {
  const std::string text = long_text();
  EXPECT_EQ(*decoded("gzip, br ,identity,\tzstd", zstd(br(gzip(text))), 100), text);
  EXPECT_EQ(*decoded("deflate,X-GZIP", gzip(zlib_coded(text, 15)), 100'000), text);
}

TEST(Decoder, a_bomb_in_a_bomb_is_refused) {
  const std::string bomb = gzip(gzip(std::string(100'000'000, '\0')));
  EXPECT_LT(bomb.size(), 10'000U);
  EXPECT_EQ(decoded("gzip, gzip", bomb, 1000).error().code, ErrorCode::body_too_large);
}

TEST(Decoder, no_coding_gives_what_was_fed) {
  EXPECT_EQ(*decoded("", "hello", 2), "hello");
  EXPECT_EQ(*decoded("identity", "hello", 2), "hello");
  EXPECT_EQ(*decoded(" , ", "hello", 2), "hello");
  EXPECT_EQ(decoded("", "hello", 2, {.max_size = 4}).error().code, ErrorCode::body_too_large);
}

TEST(Decoder, an_unknown_coding_is_unsupported) {
  const auto unknown = Decoder::make("compress");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().code, ErrorCode::unsupported);
  EXPECT_NE(unknown.error().detail.find("'compress'"), std::string::npos);
  EXPECT_EQ(Decoder::make("gzip,gzip,gzip,gzip,gzip,gzip").error().code, ErrorCode::unsupported) << "too many";
}

TEST(Decoder, the_members_of_a_gzip_file_follow_each_other) {
  EXPECT_EQ(*decoded("gzip", gzip("hello ") + gzip("world"), 3), "hello world");
  EXPECT_EQ(*decoded("gzip", gzip("hello") + std::string(3, '\0'), 3), "hello") << "padding is ignored";
}

TEST(Decoder, the_frames_of_a_zstd_file_follow_each_other) {
  EXPECT_EQ(*decoded("zstd", zstd("hello ") + zstd("world"), 3), "hello world");
}

TEST(Decoder, a_zstd_window_larger_than_http_allows_is_refused) {
  EXPECT_TRUE(decoded("zstd", zstd(long_text(), 23), 1000).ok());
  const auto refused = decoded("zstd", zstd(long_text(), 24), 1000);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::remote_protocol);
}

TEST(Decoder, accepted_codings_are_those_it_knows) {
  EXPECT_TRUE(Decoder::make(accepted_codings).ok());
}

TEST(DecodeResponse, replaces_the_body_and_drops_what_speaks_of_the_encoded_one) {
  Response response;
  response.body = br(gzip("hello"));
  response.headers.add("Content-Encoding", "gzip");
  response.headers.add("X-Kept", "1");
  response.headers.add("content-encoding", "br");
  response.headers.add("Content-Length", "77");
  ASSERT_TRUE(decode(response));
  EXPECT_EQ(response.body, "hello");
  EXPECT_EQ(response.headers.size(), 1U);
  EXPECT_EQ(response.headers.find("x-kept"), "1");
  ASSERT_TRUE(decode(response)) << "there is nothing left to decode";
  EXPECT_EQ(response.body, "hello");
}

TEST(DecodeResponse, leaves_a_response_that_it_cannot_decode) {
  Response response;
  response.body = "hello";
  response.headers.add("Content-Encoding", "gzip");
  EXPECT_FALSE(decode(response));
  EXPECT_EQ(response.body, "hello");
  EXPECT_EQ(response.headers.find("content-encoding"), "gzip");
}

TEST(DecodedStream, decodes_what_a_server_sends) {
  const std::string text = long_text();
  const client::test::HttpServer server([&](client::test::ServerConnection& connection, int) {
    (void)client::test::read_request(connection);
    connection.write(client::test::ok(zstd(text), "Content-Encoding: zstd\r\n"));
    (void)client::test::read_request(connection);
    connection.write(client::test::ok(gzip(text).substr(0, 1000), "Content-Encoding: gzip\r\n"));
    connection.read_to_end();
  });
  Client client;
  auto stream = client.open({.url = server.url()}, client::test::patient());
  ASSERT_TRUE(stream.ok());
  auto decoding = DecodedStream::make(*stream);
  ASSERT_TRUE(decoding.ok());
  std::string read;
  for (;;) {
    const auto piece = decoding->read();
    ASSERT_TRUE(piece.ok()) << piece.error().detail;
    if (piece->empty()) break;
    read += *piece;
  }
  EXPECT_EQ(read, text);
  EXPECT_TRUE(decoding->read()->empty()) << "the end stays the end";

  stream = *client.open({.url = server.url()}, client::test::patient());
  decoding = *DecodedStream::make(*stream);
  auto piece = decoding->read();
  while (piece.ok() && !piece->empty())
    piece = decoding->read();
  ASSERT_FALSE(piece.ok()) << "the body is cut off within its coding";
  EXPECT_EQ(piece.error().code, ErrorCode::remote_protocol);
}

}  // namespace
}  // namespace fastpool::codings::test
