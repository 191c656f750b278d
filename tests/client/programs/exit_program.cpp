// A program whose static objects are older than its first use of TLS. argv: "static client" or "static object", and a URL;
// the variable CA_FILE names the authority to trust.

#include <fastpool/client.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <unistd.h>

namespace {

fastpool::Profile trusting() {
  fastpool::Profile profile;
  if (const char* const file = std::getenv("CA_FILE"); file != nullptr) profile.tls.ca_file = file;
  return profile;
}

std::string url;

std::string answer_of(fastpool::Client& client) {
  fastpool::Request request;
  request.url = url;
  const auto answer = client.send(request);
  return answer.ok() ? "answered" : answer.error().detail;
}

/// Older than OpenSSL's exit handler, if its client is made in main(): that then runs before its destructor.
struct Flusher {
  Flusher() = default;
  Flusher(const Flusher&) = delete;
  Flusher& operator=(const Flusher&) = delete;
  ~Flusher() {
    if (client != nullptr) std::printf("last request: %s\n", answer_of(*client).c_str());
  }
  fastpool::Client* client = nullptr;
} flusher;

}  // namespace

int main(int count, char** arguments) {
  ::alarm(30);  // ends a program that hangs; the test then shows SIGALRM as its status
  if (count != 3) return 2;
  url = arguments[2];
  if (std::string_view(arguments[1]) == "static client") {
    static fastpool::Client client({}, trusting());
    std::puts(answer_of(client).c_str());
  } else {
    flusher.client = new fastpool::Client({}, trusting());
    std::puts(answer_of(*flusher.client).c_str());
  }
  return 0;
}
