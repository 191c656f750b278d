#include <fastpool/headers.h>

#include <cstdint>
#include <cstring>

namespace fastpool::inline v1 {
namespace {

constexpr char to_lower(char byte) noexcept {
  return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + ('a' - 'A')) : byte;
}

template <typename Word>
Word load(const char* from) noexcept {
  Word word = 0;
  std::memcpy(&word, from, sizeof(word));
  return word;
}

/// The eight bytes with their capital letters in lower case. Sums stay below 0x100 in each byte, as its high bit is left out.
constexpr std::uint64_t to_lower(std::uint64_t bytes) noexcept {
  constexpr std::uint64_t each = 0x0101010101010101U;
  constexpr std::uint64_t high = 0x80U * each;
  const std::uint64_t low = bytes & ~high;
  const std::uint64_t from_a = low + (0x80U - 'A') * each;
  const std::uint64_t beyond_z = low + (0x80U - 'Z' - 1U) * each;
  const std::uint64_t capital = from_a & ~beyond_z & ~bytes & high;
  return bytes | capital >> 2U;
}
static_assert(to_lower(0x405a4161'5b7ac1daU) == 0x407a6161'5b7ac1daU);

/// Bytes `at` to `at` + 8 of both.
bool equal_words(std::string_view left, std::string_view right, std::size_t at) noexcept {
  return to_lower(load<std::uint64_t>(left.data() + at)) == to_lower(load<std::uint64_t>(right.data() + at));
}

/// The first and the last four bytes of four to eight.
std::uint64_t ends_of(std::string_view text) noexcept {
  return std::uint64_t{load<std::uint32_t>(text.data())} << 32U |
         load<std::uint32_t>(text.data() + text.size() - sizeof(std::uint32_t));
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
  const std::size_t size = left.size();
  constexpr std::size_t word = sizeof(std::uint64_t);
  if (size != right.size()) return false;
  if (size >= word) {
    for (std::size_t at = 0; at + word <= size; at += word) {
      if (!equal_words(left, right, at)) return false;
    }
    return equal_words(left, right, size - word);  // the rest, with what comes before it
  }
  if (size >= word / 2) return to_lower(ends_of(left)) == to_lower(ends_of(right));
  for (std::size_t index = 0; index < size; ++index) {
    if (to_lower(left[index]) != to_lower(right[index])) return false;
  }
  return true;
}

}  // namespace fastpool::inline v1
