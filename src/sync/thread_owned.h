#pragma once

#include <pthread.h>

namespace fastpool::sync {

/// What: one T per thread, made at its first use. Why: a `thread_local` object may be destroyed before others of its thread
/// whose destructors still make requests, and all of the main thread's are before its static objects. This one is destroyed
/// by a pthread key, which comes after every thread_local destructor; one that is made after that, by the destructor of
/// another key, is destroyed in the next round of keys. The main thread's is never destroyed at exit.
/// When not: for plain data, a constinit thread_local is enough.
///
/// \tparam Tag tells two uses of the same T apart.
template <typename T, typename Tag>
class ThreadOwned {
 public:
  [[nodiscard]] static T& get() {
    if (own == nullptr) [[unlikely]]
      make();
    return *own;
  }

 private:
  struct Key {
    Key() noexcept : usable(::pthread_key_create(&key, destroy) == 0) {}
    pthread_key_t key{};
    bool usable;  // false: no key is left, or the library is still being loaded; what the thread has then stays
  };

  static void make() {
    own = new T;
    if (the_key.usable) (void)::pthread_setspecific(the_key.key, own);
  }
  static void destroy(void* object) noexcept {
    own = nullptr;
    delete static_cast<T*>(object);
  }

  inline static const Key the_key;  // made as the library is loaded: a fork could copy a first use half done
  inline static constinit thread_local T* own = nullptr;
};

}  // namespace fastpool::sync
