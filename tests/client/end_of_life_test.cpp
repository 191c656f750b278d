// Requests at the end of threads and of the process: from destructors of thread_local and static objects, which run after
// the library's own, and after OpenSSL's exit handler.

#include <cstdio>
#include <memory>
#include <ostream>
#include <string>
#include <thread>

#include "client/client_fixture.h"
#include "support/certificates.h"

namespace fastpool::client::test {
namespace {

/// Sends a last request when it is destroyed.
struct Flusher {
  Flusher() = default;
  Flusher(const Flusher&) = delete;
  Flusher& operator=(const Flusher&) = delete;
  ~Flusher() {
    if (client == nullptr) return;
    const auto answer = client->send(request("GET", url), patient());
    if (answered != nullptr) *answered = answer.ok() ? answer->status : -1;
    std::fprintf(stderr, "last request: %s\n", answer.ok() ? "answered" : answer.error().detail.c_str());
  }
  Client* client = nullptr;
  std::string url;
  int* answered = nullptr;
};

enum class Served : std::uint8_t { http, https };

void PrintTo(Served served, std::ostream* stream) {
  *stream << (served == Served::https ? "https" : "http");
}

/// A server for either scheme.
class EndOfLife : public ::testing::TestWithParam<Served> {
 protected:
  void SetUp() override {
    if (GetParam() == Served::https) {
      profile_.tls.ca_file = authority_.ca_file();
      server_ = std::make_unique<support::LoopbackServer>(support::ServerTls{authority_.issue_localhost()},
                                                          [](ServerConnection& connection) { serve(connection); });
      url_ = "https://127.0.0.1:" + std::to_string(server_->port()) + "/";
    } else {
      server_ = std::make_unique<support::LoopbackServer>([](ServerConnection& connection) { serve(connection); });
      url_ = "http://127.0.0.1:" + std::to_string(server_->port()) + "/";
    }
  }
  void expect_answer(Client& client) {
    const auto answer = client.send(request("GET", url_), patient());
    ASSERT_TRUE(answer.ok()) << answer.error().detail;
  }

  support::CertificateAuthority authority_;
  Profile profile_;
  std::string url_;
  std::unique_ptr<support::LoopbackServer> server_;
};

INSTANTIATE_TEST_SUITE_P(Schemes, EndOfLife, ::testing::Values(Served::http, Served::https),
                         ::testing::PrintToStringParamName());

TEST_P(EndOfLife, a_thread_local_object_that_is_older_than_the_threads_first_request_sends_from_its_destructor) {
  Client client({}, profile_);
  int answered = 0;
  std::thread([&] {
    thread_local Flusher flusher;
    flusher.client = &client;
    flusher.url = url_;
    flusher.answered = &answered;
    for (int i = 0; i < 3; ++i)
      expect_answer(client);
  }).join();
  EXPECT_EQ(answered, 200);
}

TEST_P(EndOfLife, a_client_of_a_thread_local_object_ends_with_its_thread) {
  std::thread([&] {
    thread_local std::unique_ptr<Client> client;
    client = std::make_unique<Client>(PoolSettings{}, profile_);
    expect_answer(*client);
  }).join();
}

// Programs of their own, whose static objects are older than their first use of TLS.

/// Returns the output of such a program, and how it ended. \param environment variable assignments for the shell.
std::string run_program(const std::string& what, const std::string& url, const std::string& ca_file,
                        const std::string& environment = {}) {
  const std::string command =
      environment + " CA_FILE='" + ca_file + "' '" FASTPOOL_TEST_EXIT_PROGRAM "' '" + what + "' '" + url + "' 2>&1";
  std::FILE* const output = ::popen(command.c_str(), "r");
  if (output == nullptr) return "popen failed";
  std::string text;
  for (int c = std::fgetc(output); c != EOF; c = std::fgetc(output))
    text += static_cast<char>(c);
  return text + "exit status " + std::to_string(::pclose(output));
}

TEST_P(EndOfLife, static_clients_end_cleanly) {
  const std::string printed = run_program("static client", url_, authority_.ca_file());
  EXPECT_NE(printed.find("answered\n"), std::string::npos) << printed;
  EXPECT_TRUE(printed.ends_with("exit status 0")) << printed;
}

TEST_P(EndOfLife, a_static_object_that_is_older_than_openssls_exit_handler_meets_at_worst_an_error) {
  // What OpenSSL allocated is left to the system: after its exit handler it must not be called to free it.
  const std::string printed = run_program("static object", url_, authority_.ca_file(), "ASAN_OPTIONS=detect_leaks=0");
  EXPECT_TRUE(printed.starts_with("answered\nlast request: ")) << printed;
  if (GetParam() == Served::http) {
    EXPECT_NE(printed.find("last request: answered"), std::string::npos) << printed;
  }
  EXPECT_TRUE(printed.ends_with("exit status 0")) << printed;
}

}  // namespace
}  // namespace fastpool::client::test
