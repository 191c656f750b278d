#pragma once

#include <fastpool/resolve.h>

#include "net/resolver.h"

namespace fastpool::client {

/// The resolver's look-up by a function of the program's own, whose answer and whose exceptions are checked.
[[nodiscard]] net::LookUp look_up_by(Resolve resolve);

}  // namespace fastpool::client
