#include "connection/target.h"

namespace fastpool::connection {

std::string Target::session_key() const {
  std::string key = origin.to_string() + '\n' + server_name() + '\n' + profile.unix_socket;
  if (proxy != nullptr) key += '\n' + proxy->name;
  return key;
}

}  // namespace fastpool::connection
