#pragma once

#include <memory>
#include <string>

#include <nanobind/nanobind.h>

#include "bindings/interpreter/dropped_references.h"
#include "net/channel_factory.h"

namespace fastpool::bindings {

/// TLS by an `ssl.SSLContext` of the application's: makes channels that let that very context speak. One per context, so
/// that callers which give the same context share connections. It holds the context weakly: a transport that may ask for a
/// connection holds it, and so does each connection once it has shaken hands; what is idle under a context that is gone is
/// never asked for again.
class ContextFactory final : public net::ChannelFactory, public std::enable_shared_from_this<ContextFactory> {
 public:
  /// The one of that context. With the GIL.
  [[nodiscard]] static std::shared_ptr<const ContextFactory> of(nanobind::handle context);

  [[nodiscard]] std::unique_ptr<net::Channel> wrap(std::unique_ptr<net::Channel>&& below,
                                                   const std::string& server_name, Protocols protocols) const override;

  /// The context: a new reference, null (without an error set) if it is gone. With the GIL.
  [[nodiscard]] PyObject* context() const noexcept;

  explicit ContextFactory(Reference context, bool weak) noexcept : context_(std::move(context)), weak_(weak) {}

 private:
  const Reference context_;  // the weak reference; or the context, if it takes none
  const bool weak_;
};

}  // namespace fastpool::bindings
