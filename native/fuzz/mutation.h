// Random damage to an input of a fuzz target.
//
// In: bytes and random numbers. Out: other bytes: flipped, cut, repeated, with other numbers where
// there were digits. It knows no formats.
#pragma once

#include <string>

#include "check.h"

namespace slm::fuzz {

// One to four changes. `other`: an input of the same target, to take pieces from.
std::string mutate(std::string bytes, const std::string& other, Random& random);

}  // namespace slm::fuzz
