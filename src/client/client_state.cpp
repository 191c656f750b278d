#include "client/client_state.h"

namespace fastpool::inline v1 {

namespace {

std::shared_ptr<const Hooks> shared(Hooks hooks) {
  if (!hooks.on_event && !hooks.resolve) return nullptr;
  return std::make_shared<const Hooks>(std::move(hooks));
}

}  // namespace

Client::State::State(const PoolSettings& settings, Profile profile, Hooks hooks)
    : core(settings, shared(std::move(hooks))),
      profile_(std::move(profile)),
      handles_(net::fork_epoch(), make_handles()) {}

Client::State::~State() {
  if (handles_.epoch() != net::fork_epoch()) handles_.abandon();  // the parent's
}

std::unique_ptr<client::Handle> Client::State::make_handle(std::shared_ptr<const client::InternedProfile> profile) {
  return std::make_unique<client::Handle>(core.get(), std::move(profile), pool::AfterUse::keep,
                                          client::Handle::Isolation::by_pool);
}

std::unique_ptr<Client::State::Handles> Client::State::make_handles() {
  auto handles = std::make_unique<Handles>();
  handles->own = make_handle(core.get().intern(profile_));
  return handles;
}

client::Handle& Client::State::handle_of(const Profile* profile) {
  Handles& handles = handles_.get(net::fork_epoch(), [this](const Handles*) { return make_handles(); });
  if (profile == nullptr) [[likely]]
    return *handles.own;
  auto interned = core.get().intern(*profile);
  const std::lock_guard lock(handles.mutex);
  for (const auto& [known, handle] : handles.others) {
    if (known == interned) return *handle;
  }
  auto handle = make_handle(interned);
  return *handles.others.emplace_back(std::move(interned), std::move(handle)).second;
}

Result<client::EndpointUse> Client::State::endpoint(const Origin& origin, const Profile* profile) {
  return handle_of(profile).use(origin);
}

Error Client::State::explained(Error error) {
  const bool broke = error.code == ErrorCode::read_failed || error.code == ErrorCode::write_failed;
  if (broke && core.get().pool().closed()) error.code = ErrorCode::pool_closed;
  return error;
}

}  // namespace fastpool::inline v1
