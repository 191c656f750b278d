#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "common/process_time.h"

namespace fastpool::bench {

/// Runs the context's handlers until `end`. It may be called again.
inline void run_until(boost::asio::io_context& context, Clock::time_point end) {
  boost::asio::steady_timer timer(context, end);
  timer.async_wait([&context](const boost::system::error_code& error) {
    if (!error) context.stop();
  });
  context.restart();
  context.run();
}

}  // namespace fastpool::bench
