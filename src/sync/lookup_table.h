#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

namespace fastpool::sync {

/// An insert-only hash table: find() takes no lock, insert() one. Values never move and live as long as the table, so a
/// pointer from find() stays good.
template <typename Key, typename Value, typename Hash, std::size_t Buckets = 1024>
class LookupTable {
 public:
  LookupTable() = default;
  LookupTable(const LookupTable&) = delete;
  LookupTable& operator=(const LookupTable&) = delete;
  ~LookupTable() {
    for (auto& bucket : buckets_) {
      for (Node* node = bucket.load(); node != nullptr;)
        delete std::exchange(node, node->next);
    }
  }

  template <typename LookupKey>
  [[nodiscard]] Value* find(const LookupKey& key) const noexcept {
    // acquire: pairs with the release in insert(); the node's contents are seen.
    for (Node* node = bucket_of(key).load(std::memory_order_acquire); node != nullptr; node = node->next) {
      if (node->key == key) return node->value.get();
    }
    return nullptr;
  }

  /// The value of that key, made by `make()` if there is none yet.
  template <typename Make>
  [[nodiscard]] Value& find_or_insert(const Key& key, Make make) {
    if (Value* found = find(key)) return *found;
    std::lock_guard lock(mutex_);
    if (Value* found = find(key)) return *found;
    auto& bucket = bucket_of(key);
    auto node = std::make_unique<Node>(key, make(), bucket.load());
    Value& value = *node->value;
    // release: pairs with the acquire in find().
    bucket.store(node.release(), std::memory_order_release);
    ++size_;
    return value;
  }

  [[nodiscard]] std::size_t size() const {
    std::lock_guard lock(mutex_);
    return size_;
  }

  template <typename Visit>
  void for_each(Visit visit) const {
    for (const auto& bucket : buckets_) {
      // acquire: as in find().
      for (Node* node = bucket.load(std::memory_order_acquire); node != nullptr; node = node->next)
        visit(node->key, *node->value);
    }
  }

 private:
  struct Node {
    Node(const Key& k, std::unique_ptr<Value> v, Node* n) : key(k), value(std::move(v)), next(n) {}
    Key key;
    std::unique_ptr<Value> value;
    Node* next;
  };

  template <typename LookupKey>
  std::atomic<Node*>& bucket_of(const LookupKey& key) const noexcept {
    return buckets_[Hash{}(key) % Buckets];
  }

  mutable std::array<std::atomic<Node*>, Buckets> buckets_{};
  mutable std::mutex mutex_;  // guards insertion and size_
  std::size_t size_ = 0;
};

}  // namespace fastpool::sync
