// How many processors this process may keep busy.
//
// In: what the system says: affinity, cores, control groups of version 1 and 2. Out: a number, at
// least 1. Two logical processors of one core count once: they share what products need.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "threads/pool.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace slm {
namespace {

#if defined(__linux__)

constexpr int kMostProcessors = 1 << 16;

std::vector<int> allowed_processors() {
  std::vector<int> processors;
  for (int size = 1024; size <= kMostProcessors; size *= 2) {  // until the set is large enough
    std::vector<cpu_set_t> set((static_cast<std::size_t>(size) / 8 + sizeof(cpu_set_t) - 1) /
                               sizeof(cpu_set_t));
    const std::size_t bytes = set.size() * sizeof(cpu_set_t);
    if (sched_getaffinity(0, bytes, set.data()) != 0) continue;
    for (int i = 0; i < size; ++i) {
      if (CPU_ISSET_S(static_cast<std::size_t>(i), bytes, set.data())) processors.push_back(i);
    }
    break;
  }
  return processors;
}

int count_cores(const std::vector<int>& processors) {
  std::set<std::string> cores;
  for (const int processor : processors) {
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(processor) +
                       "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(file, siblings)) return static_cast<int>(processors.size());
    cores.insert(siblings);
  }
  return static_cast<int>(cores.size());
}

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

double ratio(const std::string& quota, const std::string& period) {
  try {
    const double most = std::stod(quota), whole = std::stod(period);
    return most > 0 && whole > 0 ? most / whole : kNoLimit;
  } catch (const std::exception&) {  // "max", or nothing
    return kNoLimit;
  }
}

double quota_of_folder(const std::string& folder) {
  std::string quota, period;
  if (std::ifstream file(folder + "/cpu.max"); file >> quota >> period) {  // version 2
    return ratio(quota, period);
  }
  std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
  std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  return ratio(quota, period);
}

bool has_item(const std::string& list, const std::string& item) {
  return ("," + list + ",").find("," + item + ",") != std::string::npos;
}

// The least quota of a group, named as a line of /proc/self/cgroup does, and of those that hold it.
double quota_of_group(const std::string& line) {
  const std::size_t first = line.find(':'), second = line.find(':', first + 1);
  if (first == std::string::npos || second == std::string::npos) return kNoLimit;
  const std::string controllers = line.substr(first + 1, second - first - 1);
  if (!controllers.empty() && !has_item(controllers, "cpu")) return kNoLimit;
  // Version 2 has one tree, and no name for it.
  const std::string root = "/sys/fs/cgroup" + (controllers.empty() ? "" : "/" + controllers);
  std::string path = line.substr(second + 1);
  double least = quota_of_folder(root);
  while (!path.empty() && path != "/") {
    least = std::min(least, quota_of_folder(root + path));
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
  return least;
}

double cpu_quota() {
  std::ifstream groups("/proc/self/cgroup");
  double least = kNoLimit;
  for (std::string line; std::getline(groups, line);) {
    least = std::min(least, quota_of_group(line));
  }
  return least;
}

#else

std::vector<int> allowed_processors() {
  return std::vector<int>(std::max(1u, std::thread::hardware_concurrency()));
}
int count_cores(const std::vector<int>& processors) { return static_cast<int>(processors.size()); }
double cpu_quota() { return std::numeric_limits<double>::infinity(); }

#endif

}  // namespace

int free_processors() {
  const double cores = count_cores(allowed_processors());
  // A part of a processor is not counted: beyond its quota a group is stopped as a whole.
  return static_cast<int>(std::max(1.0, std::floor(std::min(cores, cpu_quota()))));
}

}  // namespace slm
