#include <fastpool/headers.h>

namespace fastpool::inline v1 {
namespace {

constexpr char to_lower(char byte) noexcept {
  return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + ('a' - 'A')) : byte;
}

}  // namespace

void HeaderList::add(std::string_view name, std::string_view value) {
  Entry entry;
  entry.offset = static_cast<std::uint32_t>(bytes_.size());
  entry.name_size = static_cast<std::uint32_t>(name.size());
  entry.value_size = static_cast<std::uint32_t>(value.size());
  bytes_.append(name).append(value);
  entries_.push_back(entry);
}

void HeaderList::clear() noexcept {
  bytes_.clear();
  entries_.clear();
}

void HeaderList::reserve(std::size_t headers, std::size_t bytes) {
  entries_.reserve(headers);
  bytes_.reserve(bytes);
}

Header HeaderList::operator[](std::size_t index) const noexcept {
  const Entry& entry = entries_[index];
  const char* const first = bytes_.data() + entry.offset;
  return {{first, entry.name_size}, {first + entry.name_size, entry.value_size}};
}

std::size_t HeaderList::next_of(std::string_view name, std::size_t index) const noexcept {
  while (index < entries_.size() && !equals_ignoring_case((*this)[index].name, name))
    ++index;
  return index;
}

std::optional<std::string_view> HeaderList::get(std::string_view name) const noexcept {
  const std::size_t index = next_of(name, 0);
  if (index == entries_.size()) return std::nullopt;
  return (*this)[index].value;
}

std::string_view HeaderList::find(std::string_view name) const noexcept {
  return get(name).value_or(std::string_view());
}

bool equals_ignoring_case(std::string_view left, std::string_view right) noexcept {
  if (left.size() != right.size()) return false;
  for (std::size_t index = 0; index < left.size(); ++index) {
    if (to_lower(left[index]) != to_lower(right[index])) return false;
  }
  return true;
}

}  // namespace fastpool::inline v1
