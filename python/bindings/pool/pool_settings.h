#pragma once

#include <nanobind/nanobind.h>

#include <fastpool/settings.h>

namespace fastpool::bindings {

/// Returns the settings that `given` names, and the defaults of the others. None lifts a limit. Raises TypeError for a name
/// that is no setting and for a value of another type, ValueError for a value below the setting's least. With the GIL.
[[nodiscard]] PoolSettings pool_settings_from(nanobind::dict given);

/// Returns all settings by name: counts as int, durations in seconds, None for no limit. With the GIL.
[[nodiscard]] nanobind::dict dict_of(const PoolSettings& settings);

}  // namespace fastpool::bindings
