#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace fastpool::sync {

/// An insert-only hash table that grows: find() takes no lock, find_or_insert() one if the key is new. Values never move
/// and live as long as the table, so a pointer from find() stays good. Any thread may call anything.
///
/// Open addressing over an array of pointers to nodes, at most half full. A full one is replaced by one of twice the size,
/// published whole; the ones before it are kept until the table ends, since readers may be in them (together they are
/// smaller than the one in use). A reader in an old array misses nothing but what was inserted after it was replaced.
///
/// \tparam Initial how many places it has at first; a power of two.
template <typename Key, typename Value, typename Hash, std::size_t Initial = 16>
class LookupTable {
  static_assert(std::has_single_bit(Initial) && Initial >= 2);

 public:
  LookupTable() { use(std::make_unique<Array>(Initial)); }
  LookupTable(const LookupTable&) = delete;
  LookupTable& operator=(const LookupTable&) = delete;
  ~LookupTable() = default;

  template <typename LookupKey>
  [[nodiscard]] Value* find(const LookupKey& key) const noexcept {
    return find_hashed(key, hash_of(key));
  }

  /// The value of that key, made by `make()` if there is none yet. `make` runs under the table's lock.
  template <typename Make>
  [[nodiscard]] Value& find_or_insert(const Key& key, Make make) {
    const std::uint64_t hash = hash_of(key);
    if (Value* found = find_hashed(key, hash)) return *found;
    const std::lock_guard lock(mutex_);
    if (Value* found = find_hashed(key, hash)) return *found;
    if (arrays_.back()->size < 2 * (nodes_.size() + 1)) grow();
    nodes_.push_back(std::make_unique<Node>(key, hash, make()));
    Node& node = *nodes_.back();
    // release: pairs with the acquire in find_hashed(); the node's contents are seen.
    arrays_.back()->free_place(hash).store(&node, std::memory_order_release);
    return *node.value;
  }

  [[nodiscard]] std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return nodes_.size();
  }

  /// Visits what was inserted before, and perhaps what is inserted meanwhile.
  template <typename Visit>
  void for_each(Visit visit) const {
    // acquire: pairs with the release in use().
    const Array& array = *array_.load(std::memory_order_acquire);
    for (std::size_t place = 0; place < array.size; ++place) {
      // acquire: as in find_hashed().
      if (Node* node = array.places[place].load(std::memory_order_acquire)) visit(node->key, *node->value);
    }
  }

 private:
  struct Node {
    Node(const Key& k, std::uint64_t h, std::unique_ptr<Value> v) : key(k), hash(h), value(std::move(v)) {}
    const Key key;
    const std::uint64_t hash;
    const std::unique_ptr<Value> value;
  };

  struct Array {
    explicit Array(std::size_t count)
        : size(count),
          shift(64U - static_cast<unsigned>(std::countr_zero(count))),
          places(std::make_unique<std::atomic<Node*>[]>(count)) {}

    [[nodiscard]] std::size_t first(std::uint64_t hash) const noexcept { return hash >> shift; }
    [[nodiscard]] std::size_t next(std::size_t place) const noexcept { return (place + 1) & (size - 1); }
    /// Under the table's lock.
    [[nodiscard]] std::atomic<Node*>& free_place(std::uint64_t hash) const noexcept {
      std::size_t place = first(hash);
      // relaxed: only the lock's holder writes.
      while (places[place].load(std::memory_order_relaxed) != nullptr)
        place = next(place);
      return places[place];
    }

    const std::size_t size;  ///< a power of two
    const unsigned shift;    ///< leaves as many bits of a hash as `size` needs
    const std::unique_ptr<std::atomic<Node*>[]> places;
  };

  template <typename LookupKey>
  [[nodiscard]] static std::uint64_t hash_of(const LookupKey& key) noexcept {
    // The golden ratio's multiple spreads hashes that differ in their low bits alone over the high ones, which are used.
    return static_cast<std::uint64_t>(Hash{}(key)) * 0x9e3779b97f4a7c15ULL;
  }

  template <typename LookupKey>
  [[nodiscard]] Value* find_hashed(const LookupKey& key, std::uint64_t hash) const noexcept {
    // acquire: pairs with the release in use(); what the array holds is seen.
    const Array& array = *array_.load(std::memory_order_acquire);
    for (std::size_t place = array.first(hash);; place = array.next(place)) {
      // acquire: pairs with the release in find_or_insert().
      Node* node = array.places[place].load(std::memory_order_acquire);
      if (node == nullptr) return nullptr;
      if (node->hash == hash && node->key == key) return node->value.get();
    }
  }

  void grow() {
    auto array = std::make_unique<Array>(2 * arrays_.back()->size);
    for (const auto& node : nodes_) {
      // relaxed: published with the whole array.
      array->free_place(node->hash).store(node.get(), std::memory_order_relaxed);
    }
    use(std::move(array));
  }
  void use(std::unique_ptr<Array> array) {
    arrays_.push_back(std::move(array));
    // release: pairs with the acquire in find_hashed() and for_each().
    array_.store(arrays_.back().get(), std::memory_order_release);
  }

  std::atomic<Array*> array_{nullptr};  // the last of arrays_

  // Guarded by mutex_; readers get at arrays through array_ alone.
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Array>> arrays_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

}  // namespace fastpool::sync
