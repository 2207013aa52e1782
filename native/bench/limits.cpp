// What this machine can do at most: the limits that the engine's figures are shares of.
//
//   limits THREADS        once, everything
//   limits THREADS read   a line with the read bandwidth for each line of the input
//
// In: a number of threads. Out: lines of JSON: read bandwidth in pages of 4 KB and of 2 MB, and the
// rates of multiply-adds of those formats that the processor has instructions for. The engine
// measures (engine/limits). The second form is for comparing engines with reading alone, in turn.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "limits/products.h"
#include "limits/reading.h"
#include "limits/rounds.h"

namespace {

using namespace slm;

constexpr double kReadingSeconds = 0.3, kProductSeconds = 0.3;

double gigabytes_a_second(const ReadingMemory& memory, int threads) {
  return memory.bandwidth(threads, kReadingSeconds) / 1e9;
}

void print_everything(int threads, std::size_t bytes) {
  const double small_pages = gigabytes_a_second(ReadingMemory(bytes, false), threads);
  const double large_pages = gigabytes_a_second(ReadingMemory(bytes, true), threads);
  std::printf("{\"threads\": %d, \"read_gb_s_small_pages\": %.2f, \"read_gb_s\": %.2f", threads,
              small_pages, large_pages);
  for (const ProductRate& rate : measure_products(threads, kProductSeconds)) {
    std::printf(", \"%s_gmac_s\": %.1f", rate.format, rate.per_second / 1e9);
  }
  std::printf("}\n");
}

void serve_bandwidth(int threads, std::size_t bytes) {
  const ReadingMemory memory(bytes, true);
  for (int byte = std::getchar(); byte != EOF; byte = std::getchar()) {
    if (byte != '\n') continue;
    std::printf("%.2f\n", gigabytes_a_second(memory, threads));
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 0;
  const bool serves = argc == 3 && std::strcmp(argv[2], "read") == 0;
  if (threads < 1 || threads > kMostRoundThreads || (argc != 2 && !serves)) {
    std::fprintf(stderr, "usage: limits THREADS [read]\n");
    return 2;
  }
  const std::size_t bytes = choose_reading_bytes(find_free_bytes(), find_cache_bytes());
  if (bytes == 0) {
    std::fprintf(stderr, "limits: too little memory is free to read beyond the caches\n");
    return 1;
  }
  if (serves) {
    serve_bandwidth(threads, bytes);
  } else {
    print_everything(threads, bytes);
  }
  return 0;
}
