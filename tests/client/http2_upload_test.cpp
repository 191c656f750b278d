// Bodies of requests over HTTP/2: windows, early answers, sources, Expect.

#include <functional>

#include <fcntl.h>

#include "client/http2_fixture.h"

namespace fastpool::client::test {
namespace {

class Http2Uploads : public Http2WayTest {};

INSTANTIATE_TEST_SUITE_P(Ways, Http2Uploads, ::testing::Values(Way::blocking, Way::loop, Way::coroutine),
                         [](const auto& way) { return name_of(way.param); });

/// Lines of growing numbers: a part that is lost or doubled shows.
std::string text_of(std::size_t size) {
  std::string text;
  for (int line = 0; text.size() < size; ++line)
    text += std::to_string(line) + "\n";
  text.resize(size);
  return text;
}

/// Gives the text in pieces of that size.
Body::Pull pieces_of(const std::string& text, std::size_t piece) {
  return [&text, piece, at = std::size_t{0}](std::span<char> buffer) mutable -> Result<std::size_t> {
    const std::size_t size = text.copy(buffer.data(), std::min(piece, buffer.size()), at);
    at += size;
    return size;
  };
}

/// Lets the client learn the windows of the server: what it sends before that goes by those of RFC 9113, and nghttp2 1.52 resets a stream
/// that used more than half of the default when it lowers its window.
void settle(Client& client, const Http2Server& server) {
  ASSERT_TRUE(client.send(request("GET", server.url("/settle")), patient()).ok());
}

void answer_with_size(const Http2Request& request) {
  request.answer(200, request.field("content-length") + " " + std::to_string(std::hash<std::string>()(request.body)));
}

std::string size_and_hash(const std::string& length, const std::string& text) {
  return length + " " + std::to_string(std::hash<std::string>()(text));
}

TEST_P(Http2Uploads, a_body_larger_than_the_window_arrives_whole) {
  const std::string text = text_of(3UL << 20U);
  Http2Server server({.window = 1000}, answer_with_size);
  Client client({}, over_http2());
  settle(client, server);
  for (const auto& result :
       send_all(GetParam(), client, {request("POST", server.url(), text), request("POST", server.url(), text)})) {
    ASSERT_TRUE(result.ok()) << result.error().detail;
    EXPECT_EQ(result->body, size_and_hash(std::to_string(text.size()), text));
  }
}

TEST_P(Http2Uploads, a_body_that_a_function_gives_arrives_whole) {
  const std::string text = text_of(1UL << 20U);
  Http2Server server({.window = 1000}, answer_with_size);
  Client client({}, over_http2());
  settle(client, server);
  Request sized = request("POST", server.url());
  sized.body = Body::pull(text.size(), pieces_of(text, 3000));
  Request unsized = request("POST", server.url());
  unsized.body = Body::pull({}, pieces_of(text, 10'000));
  const auto results = send_all(GetParam(), client, {sized, unsized});
  ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
  EXPECT_EQ(results[0]->body, size_and_hash(std::to_string(text.size()), text));
  ASSERT_TRUE(results[1].ok()) << results[1].error().detail;
  EXPECT_EQ(results[1]->body, size_and_hash("", text));
}

TEST_P(Http2Uploads, a_file_arrives_whole) {
  const support::TemporaryDirectory directory;
  const std::string text = text_of(1UL << 20U);
  const net::Descriptor file(::open(directory.write("body", text).c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(file.valid());
  Http2Server server({.window = 1000}, answer_with_size);
  Client client({}, over_http2());
  settle(client, server);
  Request asked = request("PUT", server.url());
  asked.body = Body::file(file.get());
  const auto results = send_all(GetParam(), client, {asked});
  ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
  EXPECT_EQ(results[0]->body, size_and_hash(std::to_string(text.size()), text));
}

TEST_P(Http2Uploads, an_early_error_ends_the_upload_and_is_the_response) {
  Http2Server server({.holds_bodies = true, .at_head = [](const Http2Request& request) {
                        if (request.path == "/upload") request.answer(413, "too large");
                      }});
  Client client({}, over_http2());
  const std::string text = text_of(5UL << 20U);
  const auto results = send_all(GetParam(), client, {request("POST", server.url("/upload"), text)});
  ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
  EXPECT_EQ(results[0]->status, 413);
  EXPECT_EQ(results[0]->body, "too large");
  const auto next = send_all(GetParam(), client, {request("GET", server.url("/next"))});
  EXPECT_TRUE(next[0].ok()) << next[0].error().detail;
  EXPECT_EQ(server.connections(), 1) << "an upload that ends early costs its stream alone";
}

TEST_P(Http2Uploads, an_early_error_ends_a_body_that_a_function_gives) {
  Http2Server server({.holds_bodies = true, .at_head = [](const Http2Request& request) { request.answer(401, "no"); }});
  Client client({}, over_http2());
  const std::string text = text_of(5UL << 20U);
  Request asked = request("POST", server.url());
  asked.body = Body::pull({}, pieces_of(text, 10'000));
  const auto results = send_all(GetParam(), client, {asked});
  ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
  EXPECT_EQ(results[0]->status, 401);
  EXPECT_EQ(results[0]->body, "no");
}

TEST_P(Http2Uploads, an_early_success_waits_for_the_rest_of_the_upload) {
  Http2Server server({.window = 1000, .at_head = [](const Http2Request& request) {
                        if (request.method == "POST") request.begin(200);
                      }});
  Client client({}, over_http2());
  settle(client, server);
  const std::string text = text_of(200'000);
  Sending sending(GetParam(), client, {request("POST", server.url(), text)});
  ASSERT_TRUE(eventually("the whole body has come", [&] {
    const auto all = server.requests();
    return all.size() == 2 && server.received(all[1]) == text.size();
  }));
  const Http2Request asked = server.requests()[1];
  asked.send("thanks");
  asked.finish();
  const auto results = sending.results();
  ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
  EXPECT_EQ(results[0]->body, "thanks");
}

TEST_P(Http2Uploads, a_server_that_stops_an_upload_without_an_error_has_answered) {
  Http2Server server({.holds_bodies = true, .at_head = [](const Http2Request& request) {
                        request.stop_after_answer();
                        request.answer(200, "enough");
                      }});
  Client client({}, over_http2());
  const std::string text = text_of(1UL << 20U);
  const auto results = send_all(GetParam(), client, {request("POST", server.url(), text)});
  ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
  EXPECT_EQ(results[0]->body, "enough");
}

TEST_P(Http2Uploads, a_stream_that_is_reset_during_its_upload_fails_alone) {
  Http2Server server({.holds_bodies = true, .at_head = [](const Http2Request& request) {
                        if (request.path == "/bad") request.reset(0x2);  // INTERNAL_ERROR
                      }});
  Client client({}, over_http2());
  const std::string text = text_of(1UL << 20U);
  const auto results = send_all(GetParam(), client,
                                {request("POST", server.url("/bad"), text), request("POST", server.url("/good"), "x")});
  ASSERT_FALSE(results[0].ok());
  EXPECT_EQ(results[0].error().code, ErrorCode::remote_protocol) << results[0].error().detail;
  ASSERT_TRUE(results[1].ok()) << results[1].error().detail;
  EXPECT_EQ(server.count("/bad"), 1);
  EXPECT_EQ(server.connections(), 1);
}

TEST_P(Http2Uploads, one_upload_that_the_server_does_not_read_holds_up_no_other_request) {
  Held held;
  Http2Server server({.holds_bodies = true,
                      .at_head =
                          [&](const Http2Request& request) {
                            if (request.path == "/upload") held.handler()(request);
                          }},
                     [](const Http2Request& request) {
                       if (request.path != "/upload") Http2Server::answer_it(request);
                     });
  Client client({}, over_http2());
  const std::string text = text_of(65'535);  // the window of the stream, and nearly that of the connection
  Sending upload(GetParam(), client, {request("POST", server.url("/upload"), text + "!")});
  const Http2Request asked = held.take_one();
  for (int round = 0; round < 5; ++round) {
    const auto others = send_all(Way::blocking, client, {request("GET", server.url("/other"))});
    ASSERT_TRUE(others[0].ok()) << others[0].error().detail;
  }
  ASSERT_TRUE(eventually("the window is used up", [&] { return server.received(asked) == 65'535; }));
  asked.credit(65'535);
  ASSERT_TRUE(eventually("the rest has come", [&] { return server.received(asked) == 65'536; }));
  asked.answer(200, "done");
  const auto results = upload.results();
  ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
  EXPECT_EQ(results[0]->body, "done");
}

/// A request whose body waits for the server's word.
Request expecting(const Http2Server& server) {
  Request asked = request("POST", server.url(), "the body");
  asked.headers = {{"Expect", "100-continue"}};
  return asked;
}

Call patient_for_the_word() {
  Call call = patient();
  call.expect_timeout = seconds(20);
  return call;
}

TEST_P(Http2Uploads, a_body_waits_for_the_servers_word_if_the_request_says_so) {
  Held held;
  Http2Server server({.at_head = held.handler()},
                     [](const Http2Request& request) { request.answer(200, request.body); });
  Client client({}, over_http2());
  Sending sending(GetParam(), client, {expecting(server)}, patient_for_the_word());
  const Http2Request seen = held.take_one();
  EXPECT_EQ(seen.field("expect"), "100-continue");
  EXPECT_EQ(server.received(seen), 0U);
  seen.inform(100);
  const auto results = sending.results();
  ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
  EXPECT_EQ(results[0]->body, "the body");
}

TEST_P(Http2Uploads, a_body_that_the_server_refuses_is_not_sent) {
  Held held;
  Http2Server server({.at_head = held.handler()});
  Client client({}, over_http2());
  Sending sending(GetParam(), client, {expecting(server)}, patient_for_the_word());
  const Http2Request seen = held.take_one();
  seen.answer(417, "no");
  const auto results = sending.results();
  ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
  EXPECT_EQ(results[0]->status, 417);
  EXPECT_EQ(server.received(seen), 0U);
}

TEST_P(Http2Uploads, a_body_is_sent_to_a_server_that_says_nothing_to_an_expectation) {
  Http2Server server;
  Client client({}, over_http2());
  Request asked = request("POST", server.url(), "the body");
  asked.headers = {{"Expect", "100-continue"}};
  Call call = patient();
  call.expect_timeout = milliseconds(10);
  const auto results = send_all(GetParam(), client, {asked}, call);
  ASSERT_TRUE(results[0].ok()) << results[0].error().detail;
  EXPECT_EQ(results[0]->body, "the body");
}

TEST(Http2Writing, a_stream_is_written_in_pieces) {
  Http2Server server({.window = 1000}, answer_with_size);
  Client client({}, over_http2());
  settle(client, server);
  const std::string text = text_of(300'000);
  Request asked = request("POST", server.url());
  asked.body = Body::written();
  auto stream = client.open(asked, patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  for (std::size_t at = 0; at < text.size(); at += 7000) {
    const auto wanted = stream->write(std::string_view(text).substr(at, 7000));
    ASSERT_TRUE(wanted.ok()) << wanted.error().detail;
    EXPECT_TRUE(*wanted);
  }
  const auto finished = stream->finish();
  ASSERT_TRUE(finished.ok()) << finished.error().detail;
  const auto answer = stream->read();
  ASSERT_TRUE(answer.ok()) << answer.error().detail;
  EXPECT_EQ(*answer, size_and_hash("", text));
}

TEST(Http2Writing, both_sides_speak_at_once) {
  Held held;
  Http2Server server({.at_head = held.handler()}, [](const Http2Request&) {});
  Client client({}, over_http2());
  Request asked = request("POST", server.url());
  asked.body = Body::written();
  auto stream = client.open(asked, patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  ASSERT_TRUE(*stream->write("question"));
  const Http2Request seen = held.take_one();
  ASSERT_TRUE(eventually("the piece has come", [&] { return server.received(seen) == 8; }))
      << "a piece goes out at once, not with the next";
  ASSERT_TRUE(*stream->write("another"));
  ASSERT_TRUE(eventually("the next has come", [&] { return server.received(seen) == 15; }));
  seen.answer(200, "answer");
  ASSERT_TRUE(stream->finish().ok());
  EXPECT_EQ(*stream->read(), "answer");
}

TEST(Http2Writing, says_when_no_more_is_wanted) {
  Http2Server server({.holds_bodies = true, .at_head = [](const Http2Request& request) { request.answer(413, "no"); }});
  Client client({}, over_http2());
  Request asked = request("POST", server.url());
  asked.body = Body::written();
  auto stream = client.open(asked, patient());
  ASSERT_TRUE(stream.ok()) << stream.error().detail;
  const std::string piece(30'000, 'x');
  bool wanted = true;
  for (int pieces = 0; wanted && pieces < 100; ++pieces) {
    const auto written = stream->write(piece);
    ASSERT_TRUE(written.ok()) << written.error().detail;
    wanted = *written;
  }
  EXPECT_FALSE(wanted);
  ASSERT_TRUE(stream->finish().ok());
  EXPECT_EQ(stream->head().status, 413);
  EXPECT_EQ(*stream->read(), "no");
}

TEST(Http2Writing, a_body_shorter_than_announced_is_an_error_and_resets_its_stream) {
  Held held;
  Http2Server server({.at_head = held.handler()});
  Client client({}, over_http2());
  Request asked = request("POST", server.url());
  asked.body = Body::written(10);
  {
    auto stream = client.open(asked, patient());
    ASSERT_TRUE(stream.ok()) << stream.error().detail;
    ASSERT_TRUE(*stream->write("short"));
    EXPECT_EQ(stream->finish().error().code, ErrorCode::local_protocol);
  }
  EXPECT_TRUE(eventually("the stream is reset", [&] { return server.resets()[0x8] == 1; }));
  EXPECT_TRUE(client.send(request("GET", server.url()), patient()).ok());
  EXPECT_EQ(server.connections(), 1);
}

}  // namespace
}  // namespace fastpool::client::test
