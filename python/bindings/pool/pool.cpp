#include "bindings/pool/pool.h"

#include <chrono>
#include <utility>

#include "bindings/interpreter/errors.h"
#include "bindings/interpreter/gil.h"
#include "bindings/pool/connection_id_text.h"
#include "bindings/pool/leak_reports.h"
#include "bindings/pool/lease_calls.h"
#include "bindings/tls/context_factory.h"

namespace nb = nanobind;

namespace fastpool::bindings {

Pool::Pool(std::string pool_name, const PoolSettings& settings, TlsSettings tls, nb::object ssl_context,
           nb::object factory, Protocols its_protocols)
    : holder(settings),
      name(std::move(pool_name)),
      default_tls(std::move(tls)),
      default_ssl_context(std::move(ssl_context)),
      error_factory(std::move(factory)),
      protocols(its_protocols) {
  living_pools().pools.push_back(this);
}

Pool::~Pool() {
  forget_pool(*this);
  std::erase(living_pools().pools, this);
  if (exiting()) {
    living_pools().abandoned.push_back(&holder.get());
    holder.abandon();  // threads may be parked inside
    endpoints_.abandon();
    (void)handle_.release();
    (void)origins_.release();
    return;
  }
  if (epoch_ != net::fork_epoch()) abandon_parents();
  endpoints_.clear();
  handle_.reset();
  // The reactor is joined; it never needs the GIL, but others need not wait for it.
  WithoutGil without_gil;
  holder.get().stop();
}

// What was remembered belongs to the core of a fork's parent, if to any.
void Pool::abandon_parents() noexcept {
  endpoints_.detach();
  (void)handle_.release();
}

// At the first use, and in the child of a fork.
void Pool::adopt(client::Core& now) {
  abandon_parents();
  Profile of_pool;
  of_pool.tls = default_tls;
  of_pool.protocols = protocols;
  if (!default_ssl_context.is_none()) net::set_engine(of_pool, ContextFactory::of(default_ssl_context));
  handle_ =
      std::make_unique<client::Handle>(now, now.intern(of_pool), pool::AfterUse::keep, client::Handle::Isolation::none);
  if (holder.settings().leak_after) {
    // The parent's, if there is one, is left to its core, whose locks may be held. No lease of this core is open yet.
    auto fresh = std::make_unique<LeaseOrigins>();
    now.on_leak([&origins = *fresh](const pool::Leak& leak) {
      report_leak({leak.endpoint, connection_id_text(leak.id.value), std::chrono::duration<double>(leak.age).count(),
                   origins.of(leak.id)});
    });
    (void)origins_.release();
    origins_ = std::move(fresh);
  }
  core_ = &now;
  epoch_ = net::fork_epoch();
}

client::EndpointUse Pool::look_up(nb::handle url) {
  if (!PyUnicode_Check(url.ptr())) {
    PyErr_Format(PyExc_TypeError, "an endpoint is a URL (str) like 'https://host:port', not %s",
                 Py_TYPE(url.ptr())->tp_name);
    throw nb::python_error();
  }
  // A subclass of str could hash and compare by Python code: it is read each time, and never kept.
  const bool exactly = PyUnicode_CheckExact(url.ptr()) != 0;
  if (const client::EndpointUse* const there = exactly ? endpoints_.find(url.ptr()) : nullptr) return there->share();

  Py_ssize_t size = 0;
  const char* const text = PyUnicode_AsUTF8AndSize(url.ptr(), &size);
  if (text == nullptr) throw nb::python_error();
  auto origin = Origin::parse({text, static_cast<std::size_t>(size)});
  if (!origin) raise_value_error(origin.error());
  auto there = handle_->use(*origin);
  if (!there) raise_value_error(there.error());
  if (exactly) endpoints_.add(url.ptr(), there->share());
  return std::move(there).value();
}

LivingPools& living_pools() {
  static auto* const all = new LivingPools;
  return *all;
}

}  // namespace fastpool::bindings
