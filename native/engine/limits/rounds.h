// Work that several threads begin together, as often as some time allows.
//
// In: work for each thread. Out: the seconds of the fastest round, which is that of its slowest
// thread.
#pragma once

#include <functional>

namespace slm {

inline constexpr int kMostRoundThreads = 1024;

// At least two rounds. Throws std::system_error if the system gives no more threads.
double fastest_round(int threads, double seconds, const std::function<void(int thread)>& work);

}  // namespace slm
