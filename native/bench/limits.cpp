// What this machine can do at most: the limits that the engine's figures are shares of.
//
//   limits THREADS        once, everything
//   limits THREADS read   a line with the read bandwidth for each line of the input
//
// In: a number of threads. Out: lines of JSON: read bandwidth in pages of 4 KB and of 2 MB, and
// the rates of fused multiply-adds in float32, bfloat16 pairs and int8 groups, whichever of them the
// processor has. Best of several short runs. A memory that other machines use too is not the same
// from one second to the next: hence the second form, for comparing engines with it in turn. It
// knows nothing about models.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kBytes = std::size_t{512} << 20;
constexpr int kRounds = 6;
constexpr long kSteps = 4'000'000;
constexpr int kChains = 10;  // multiply-adds that do not wait for each other

std::atomic<std::uint64_t> unused{0};  // results go here, so that nothing is left out

// Seconds of the fastest round, all threads beginning together.
double fastest(int threads, const std::function<void(int)>& work) {
  double best = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    std::atomic<int> waiting{threads};
    std::vector<std::thread> team;
    std::vector<double> seconds(threads);
    for (int thread = 0; thread < threads; ++thread) {
      team.emplace_back([&, thread] {
        waiting.fetch_sub(1);
        while (waiting.load() > 0) std::this_thread::yield();
        const auto start = Clock::now();
        work(thread);
        seconds[thread] = std::chrono::duration<double>(Clock::now() - start).count();
      });
    }
    for (auto& thread : team) thread.join();
    best = std::min(best, *std::max_element(seconds.begin(), seconds.end()));
  }
  return best;
}

std::uint64_t sum_of(const std::uint64_t* data, std::size_t count) {
  std::uint64_t sums[16] = {};
  for (std::size_t i = 0; i + 16 <= count; i += 16) {
    for (int lane = 0; lane < 16; ++lane) sums[lane] += data[i + lane];
  }
  std::uint64_t total = 0;
  for (std::uint64_t sum : sums) total += sum;
  return total;
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) std::uint64_t sum_of_avx512(const std::uint64_t* data,
                                                               std::size_t count) {
  __m512i sums[4] = {};
  for (std::size_t i = 0; i + 32 <= count; i += 32) {
    for (int part = 0; part < 4; ++part) {
      sums[part] = _mm512_add_epi64(sums[part], _mm512_load_si512(data + i + 8 * part));
    }
  }
  alignas(64) std::uint64_t lanes[32];
  for (int part = 0; part < 4; ++part) _mm512_store_si512(lanes + 8 * part, sums[part]);
  return sum_of(lanes, 32);
}
#endif

std::uint64_t read_part(const std::uint64_t* data, std::size_t count) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return sum_of_avx512(data, count);
#endif
  return sum_of(data, count);
}

// Memory to read. large: ask for pages of 2 MB.
class Memory {
 public:
  explicit Memory(bool large) : data_(std::aligned_alloc(std::size_t{2} << 20, kBytes)) {
    if (data_ == nullptr) std::abort();
#if defined(__linux__)
    madvise(data_, kBytes, large ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#endif
    std::memset(data_, 1, kBytes);
  }
  ~Memory() { std::free(data_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // GB/s.
  double bandwidth(int threads) const {
    const auto* data = static_cast<const std::uint64_t*>(data_);
    const std::size_t part = kBytes / sizeof(std::uint64_t) / threads / 64 * 64;
    const double seconds =
        fastest(threads, [&](int thread) { unused += read_part(data + thread * part, part); });
    return static_cast<double>(part) * threads * sizeof(std::uint64_t) / seconds / 1e9;
  }

 private:
  void* data_;
};

// One instruction in as many registers as there are chains, kSteps times.
#if defined(__x86_64__)
#define SLM_REPEAT(instruction)                                                                \
  long steps = kSteps;                                                                         \
  asm volatile("1:\n.irp r, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n" instruction "\n.endr\n"             \
               "dec %0\njnz 1b\n"                                                              \
               : "+r"(steps)                                                                   \
               :                                                                               \
               : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", \
                 "xmm9", "xmm10")

void floats_of_512_bits(int) { SLM_REPEAT("vfmadd231ps %%zmm10, %%zmm10, %%zmm\\r"); }
void floats_of_256_bits(int) { SLM_REPEAT("vfmadd231ps %%ymm10, %%ymm10, %%ymm\\r"); }
void halves_of_512_bits(int) { SLM_REPEAT("vdpbf16ps %%zmm10, %%zmm10, %%zmm\\r"); }
void bytes_of_512_bits(int) { SLM_REPEAT("vpdpbusd %%zmm10, %%zmm10, %%zmm\\r"); }
#elif defined(__aarch64__)
#define SLM_REPEAT(instruction)                                                              \
  long steps = kSteps;                                                                       \
  asm volatile(".arch_extension dotprod\n1:\n.irp r, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9\n"         \
               instruction "\n.endr\nsubs %0, %0, #1\nb.ne 1b\n"                             \
               : "+r"(steps)                                                                 \
               :                                                                             \
               : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10")

void floats_of_128_bits(int) { SLM_REPEAT("fmla v\\r\\().4s, v10.4s, v10.4s"); }
void bytes_of_128_bits(int) { SLM_REPEAT("sdot v\\r\\().4s, v10.16b, v10.16b"); }
#endif

struct Rate {
  const char* name;
  void (*work)(int thread);  // null: the processor cannot do it
  int products;  // of one instruction
};

#if defined(__x86_64__)
std::vector<Rate> find_rates() {
  const bool wide = __builtin_cpu_supports("avx512f");
  return {
      {"fp32", wide ? floats_of_512_bits : floats_of_256_bits, wide ? 16 : 8},
      {"bf16", __builtin_cpu_supports("avx512bf16") ? halves_of_512_bits : nullptr, 32},
      {"int8", __builtin_cpu_supports("avx512vnni") ? bytes_of_512_bits : nullptr, 64},
  };
}
#elif defined(__aarch64__)
std::vector<Rate> find_rates() {
#if defined(__linux__)
  const bool has_dot = getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#else
  const bool has_dot = true;
#endif
  return {{"fp32", floats_of_128_bits, 4}, {"int8", has_dot ? bytes_of_128_bits : nullptr, 16}};
}
#else
std::vector<Rate> find_rates() { return {}; }
#endif

void print_everything(int threads) {
  std::printf("{\"threads\": %d, \"read_gb_s_small_pages\": %.2f, \"read_gb_s\": %.2f", threads,
              Memory(false).bandwidth(threads), Memory(true).bandwidth(threads));
  for (const Rate& rate : find_rates()) {
    if (rate.work == nullptr) continue;
    const double seconds = fastest(threads, rate.work);
    const double products = static_cast<double>(kSteps) * kChains * rate.products * threads;
    std::printf(", \"%s_gmac_s\": %.1f", rate.name, products / seconds / 1e9);
  }
  std::printf("}\n");
}

void serve_bandwidth(int threads) {
  const Memory memory(true);
  for (int byte = std::getchar(); byte != EOF; byte = std::getchar()) {
    if (byte != '\n') continue;
    std::printf("%.2f\n", memory.bandwidth(threads));
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 0;
  const bool serves = argc == 3 && std::strcmp(argv[2], "read") == 0;
  if (threads < 1 || (argc != 2 && !serves)) {
    std::fprintf(stderr, "usage: limits THREADS [read]\n");
    return 2;
  }
  if (serves) {
    serve_bandwidth(threads);
  } else {
    print_everything(threads);
  }
  return 0;
}
