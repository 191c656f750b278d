// Relacy replaces the global operator delete, but not the sized one, which the containers use.

#include "model/relacy.h"

#include <cstddef>

void operator delete(void* memory, std::size_t) noexcept {
  ::operator delete(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  ::operator delete[](memory);
}
