// What a fuzz target gives to whoever drives it: libFuzzer, or driver.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace slm::fuzz {

// Inputs to begin with.
const std::vector<std::string>& seeds();
// Run one input. It returns unless the library is broken.
void run(const std::uint8_t* bytes, std::size_t count);

// A promise of the interface, whatever the input: ends the process if it does not hold.
void demand(bool holds, const char* what);

// The folder that a target may write to; its own for each process, and gone at its end.
const std::string& working_folder();

}  // namespace slm::fuzz
