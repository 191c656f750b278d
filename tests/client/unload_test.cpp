// dlclose() of a shared object that contains the library, while one of its look-ups is under way.

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <netdb.h>

#include <fastpool/error.h>

#include "support/waiting.h"

namespace {

/// Look-ups of this name wait until the test releases them.
constexpr std::string_view held_name = "held.test";

struct HeldLookUps {
  std::mutex mutex;
  std::condition_variable changed;
  int waiting = 0;
  int returned = 0;
  bool open = false;
};

HeldLookUps& held() {
  static auto* const all = new HeldLookUps;  // a thread may be in it at exit
  return *all;
}

}  // namespace

// Replaces the system's function, for the plug-in too, since the program exports its symbols.
extern "C" __attribute__((visibility("default"))) int getaddrinfo(const char* host, const char* service,
                                                                  const addrinfo* hints, addrinfo** result) {
  using Function = int(const char*, const char*, const addrinfo*, addrinfo**);
  static auto* const real = reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  if (host == nullptr || host != held_name) return real(host, service, hints, result);
  HeldLookUps& all = held();
  std::unique_lock lock(all.mutex);
  ++all.waiting;
  all.changed.notify_all();
  EXPECT_TRUE(
      fastpool::support::eventually("the test releases the look-up", all.changed, lock, [&all] { return all.open; }));
  ++all.returned;
  all.changed.notify_all();
  return EAI_NONAME;
}

namespace {

std::ptrdiff_t threads() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), std::filesystem::directory_iterator());
}

TEST(Unloading, a_look_up_under_way_returns_into_code_that_is_still_loaded) {
  std::thread([] {}).join();  // ThreadSanitizer starts one of its own beside the first
  const std::ptrdiff_t before = threads();
  void* const plugin = ::dlopen(FASTPOOL_TEST_PLUGIN, RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(plugin, nullptr) << ::dlerror();
  auto* const send_once = reinterpret_cast<int (*)(const char*, int)>(::dlsym(plugin, "send_once"));
  ASSERT_NE(send_once, nullptr);
  HeldLookUps& all = held();
  // A look-up that has not begun within the time of the request never does.
  EXPECT_TRUE(fastpool::support::within_some_limit(
      "a look-up is under way", std::chrono::milliseconds(20), [&](std::chrono::milliseconds limit) {
        const int answer = send_once("http://held.test/", static_cast<int>(limit.count()));
        EXPECT_EQ(answer, -static_cast<int>(fastpool::ErrorCode::connect_timeout));
        const std::lock_guard lock(all.mutex);
        return all.waiting > 0;
      }));
  EXPECT_EQ(::dlclose(plugin), 0);

  {
    std::unique_lock lock(all.mutex);
    all.open = true;
    all.changed.notify_all();
    ASSERT_TRUE(fastpool::support::eventually("the look-up has returned", all.changed, lock,
                                              [&all] { return all.returned == all.waiting; }));
  }
  EXPECT_TRUE(
      fastpool::support::eventually("the thread of the look-up has ended", [&] { return threads() == before; }));
}

}  // namespace
