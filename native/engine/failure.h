// What goes wrong inside the engine. It ends at the C interface, which turns it into a status.
#pragma once

#include <stdexcept>
#include <string>

#include "slm.h"

namespace slm {

// message: one line for people: what, where, how to mend.
class Failure : public std::runtime_error {
 public:
  Failure(slm_status status, const std::string& message)
      : std::runtime_error(message), status_(status) {}
  slm_status status() const { return status_; }

 private:
  slm_status status_;
};

}  // namespace slm
