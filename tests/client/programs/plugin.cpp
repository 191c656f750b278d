// A shared object that contains the library, like a plug-in of a program.

#include <fastpool/client.h>

extern "C" __attribute__((visibility("default"))) int send_once(const char* url, int milliseconds) {
  fastpool::Client client;
  fastpool::Call options;
  options.timeouts.connect = std::chrono::milliseconds(milliseconds);
  fastpool::Request request;
  request.url = url;
  const auto answer = client.send(request, options);
  return answer.ok() ? answer->status : -static_cast<int>(answer.error().code);
}
