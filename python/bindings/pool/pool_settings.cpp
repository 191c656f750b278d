// PoolSettings from Python's keywords and back, by the table in <fastpool/settings.h>.

#include "bindings/pool/pool_settings.h"

#include <chrono>
#include <set>
#include <string_view>

#include "bindings/interpreter/convert.h"

namespace nb = nanobind;

namespace fastpool::bindings {

namespace {

/// The longest duration that a deadline of the core's can be this far ahead: a century.
constexpr Duration longest = std::chrono::hours(24 * 36525);

void read(nb::handle value, const char* name, std::uint32_t least, std::uint32_t& count) {
  if (value.is_none()) {
    count = PoolSettings::unlimited;
    return;
  }
  int overflow = 0;  // the sign of a number that a long long cannot hold
  const long long number = PyLong_AsLongLongAndOverflow(value.ptr(), &overflow);
  if (overflow == 0 && number == -1 && PyErr_Occurred() != nullptr) throw nb::python_error();
  if (overflow < 0 || (overflow == 0 && number < least)) {
    PyErr_Format(PyExc_ValueError, "%s must be at least %u, or None for no limit, not %R", name, least, value.ptr());
    throw nb::python_error();
  }
  const bool is_unlimited = overflow > 0 || number >= PoolSettings::unlimited;
  count = is_unlimited ? PoolSettings::unlimited : static_cast<std::uint32_t>(number);
}

void read(nb::handle value, const char* name, std::uint32_t, OptionalDuration& duration) {
  duration = duration_from(value, name);
}

void read(nb::handle value, const char* name, std::uint32_t, Duration& duration) {
  if (value.is_none()) {
    PyErr_Format(PyExc_TypeError, "%s must be a number of seconds, not None", name);
    throw nb::python_error();
  }
  duration = duration_from(value, name).value_or(longest);
}

nb::object object_of(std::uint32_t count) {
  return count == PoolSettings::unlimited ? nb::none() : nb::object(nb::int_(count));
}

nb::object object_of(const OptionalDuration& duration) {
  if (!duration) return nb::none();
  return nb::float_(std::chrono::duration<double>(*duration).count());
}

}  // namespace

PoolSettings pool_settings_from(nb::dict given) {
  PoolSettings settings;
  std::set<std::string_view> known;
  for_each_setting(settings, [&](const char* name, auto& member, std::uint32_t least) {
    known.insert(name);
    const nb::str key(name);
    if (given.contains(key)) read(given[key], name, least, member);
  });
  for (const auto [key, value] : given) {
    if (known.contains(nb::cast<std::string>(key))) continue;
    PyErr_Format(PyExc_TypeError, "a pool has no setting '%U'", key.ptr());
    throw nb::python_error();
  }
  return settings;
}

nb::dict dict_of(const PoolSettings& settings) {
  nb::dict dict;
  for_each_setting(settings,
                   [&](const char* name, const auto& member, std::uint32_t) { dict[name] = object_of(member); });
  return dict;
}

}  // namespace fastpool::bindings
