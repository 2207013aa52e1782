// Products of every table of kernels that this processor can run.
#include "products_checks.h"

int main() {
  for (int i = 0; i < slm::usable_kernels().count; ++i) {
    slm::test_table(*slm::usable_kernels().tables[i]);
  }
}
