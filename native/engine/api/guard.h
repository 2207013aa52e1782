// The edge of the library: inside, errors are exceptions; outside, they are statuses.
//
// In: the work of one function of slm.h. Out: its status, and one line about what went wrong. No
// exception passes, whatever is thrown.
#pragma once

#include <cstddef>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

#include "failure.h"

namespace slm {

// Write a message as one line that fits, cut between characters. It allocates nothing. `error` may be
// null.
void write_error(slm_error* error, const char* message) noexcept;

template <typename Work>
slm_status guard(slm_error* error, Work&& work) noexcept {
  try {
    work();
    write_error(error, "");
    return SLM_OK;
  } catch (const Failure& failure) {
    write_error(error, failure.what());
    return failure.status();
  } catch (const std::bad_alloc&) {
    write_error(error, "there is not enough memory; close other bundles or programs");
    return SLM_NO_MEMORY;
  } catch (const std::length_error&) {
    write_error(error, "this would take more memory than a process can have");
    return SLM_NO_MEMORY;
  } catch (const std::system_error& failure) {
    write_error(error, failure.what());
    return SLM_BROKEN;
  } catch (const std::exception& failure) {
    write_error(error, failure.what());
    return SLM_BROKEN;
  } catch (...) {
    write_error(error, "an unknown error of the library");
    return SLM_BROKEN;
  }
}

// Throws Failure(SLM_BAD_ARGUMENT) about a pointer that must not be null.
template <typename Pointee>
void require(const Pointee* pointer, const char* name) {
  if (pointer == nullptr) {
    throw Failure(SLM_BAD_ARGUMENT, std::string(name) + " is null; give memory for it");
  }
}

}  // namespace slm
