// SPDX-License-Identifier: Apache-2.0
// What crosses the border to C: structs by their size, errors as numbers and texts.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "softmpc/bundle.h"
#include "softmpc/c_api.h"
#include "softmpc/error.h"

namespace softmpc::c {

/// An error whose number is known where it is found.
class Failure : public Error {
 public:
  Failure(softmpc_result number, const std::string& text) : Error(text), result(number) {}
  softmpc_result result;
};

/// Reads the caller's struct into `known`, whose other members stay as they are; false where its
/// size is none that a version has had. `least`: the end of the members that none lacks.
template <class T>
bool take(const T* given, std::size_t least, T& known) noexcept {
  if (given == nullptr) return false;
  std::size_t size = 0;
  std::memcpy(&size, given, sizeof size);
  if (size < least || size > sizeof(T) || size % alignof(T) != 0) return false;
  std::memcpy(&known, given, size);
  return true;
}

/// The defaults in as much as the caller's struct has room for, zeros behind what is known.
template <class T>
void initialise(T* to, std::size_t size, const T& defaults) noexcept {
  if (to == nullptr || size < sizeof size) return;
  std::memset(static_cast<void*>(to), 0, size);
  std::memcpy(static_cast<void*>(to), &defaults, std::min(size, sizeof defaults));
  std::memcpy(static_cast<void*>(to), &size, sizeof size);
}

/// Writes as much as the caller's struct has room for; after take().
template <class T>
void give(const T& known, T* to) noexcept {
  std::memcpy(to, &known, known.size);
}

/// The end of a member, for take().
#define SOFTMPC_END_OF(type, member) (offsetof(type, member) + sizeof(type::member))

/// Cut at the buffer's end, but within no UTF-8 character; always terminated.
inline void say(char* error, std::size_t size, const char* text) noexcept {
  if (error == nullptr || size == 0) return;
  std::size_t length = std::min(std::strlen(text), size - 1);
  while (length > 0 && (text[length] & 0xC0) == 0x80) --length;
  std::memcpy(error, text, length);
  error[length] = '\0';
}

inline void require(bool holds, const char* rule) {
  if (!holds) throw Failure(SOFTMPC_ERROR_ARGUMENT, rule);
}

/// An Error of `work` that says no more of itself is `result`.
template <class Work>
auto or_fail(softmpc_result result, Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (const Failure&) {
    throw;
  } catch (const NewerBundle&) {
    throw;
  } catch (const UsageError&) {
    throw;
  } catch (const Error& error) {
    throw Failure(result, error.what());
  }
}

/// Runs `work`, and makes its exception a number and a text.
template <class Work>
softmpc_result guarded(char* error, std::size_t error_size, Work&& work) noexcept {
  const auto failed = [&](softmpc_result result, const char* text) {
    say(error, error_size, text);
    return result;
  };
  say(error, error_size, "");
  try {
    std::forward<Work>(work)();
    return SOFTMPC_DONE;
  } catch (const Failure& e) {
    return failed(e.result, e.what());
  } catch (const NewerBundle& e) {
    return failed(SOFTMPC_ERROR_VERSION, e.what());
  } catch (const UsageError& e) {
    return failed(SOFTMPC_ERROR_ARGUMENT, e.what());
  } catch (const std::bad_alloc&) {
    return failed(SOFTMPC_ERROR_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return failed(SOFTMPC_ERROR_INTERNAL, e.what());
  } catch (...) {
    return failed(SOFTMPC_ERROR_INTERNAL, "an exception without a text");
  }
}

}  // namespace softmpc::c
