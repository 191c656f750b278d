#include <fastpool/server_sent_events.h>

#include <utility>

namespace fastpool::inline v1 {

Result<std::optional<ServerSentEvent>> ServerSentEvents::next() {
  for (;;) {
    auto event = scanner_.next();
    if (!event || *event) return event;
    auto piece = stream_.read();
    if (!piece) return std::move(piece).error();
    if (piece->empty()) return std::optional<ServerSentEvent>();
    scanner_.feed(*piece);
  }
}

}  // namespace fastpool::inline v1
