#pragma once

#include <memory>
#include <utility>

#include <fastpool/stream.h>

#include "client/loop_task.h"
#include "client/transfer.h"

namespace fastpool::inline v1 {

/// A stream's transfer, the call that it observes, and what drives it in a loop.
struct Stream::State {
  State(std::shared_ptr<Client::State> client, Call given) : call(std::move(given)), transfer(std::move(client), call) {
    transfer.enable_cancel();
  }

  const Call call;
  client::Transfer transfer;
  std::shared_ptr<void> function;          ///< of the caller's, for the task
  std::unique_ptr<client::LoopTask> task;  ///< the operation that is under way in a loop; ends first
};

}  // namespace fastpool::inline v1

namespace fastpool::client {

/// Opens a stream on the calling thread. \param lease \see Transfer::prepare().
[[nodiscard]] Result<Stream> open_stream(const std::shared_ptr<Client::State>& client, const Request& request,
                                         const Call& call, std::optional<pool::LeaseRef> lease = {});
/// Sends a request and reads its response, on the calling thread.
[[nodiscard]] Result<void> send_request(const std::shared_ptr<Client::State>& client, const Request& request,
                                        Response& response, const Call& call, std::optional<pool::LeaseRef> lease = {});

}  // namespace fastpool::client
