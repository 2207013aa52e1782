// The system that a test program finds on an emulated processor: enough for a static program of the
// GNU C library that computes, prints and ends.
//
// In: system calls. Out: text and the status on port 0xe9, which emulators print; then they end.
#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" void _start();
extern "C" char _end;
extern "C" const char __ehdr_start;

namespace {

constexpr std::uintptr_t kStack = 0x0ff00000, kHeapEnd = 0x0f000000;
constexpr std::uintptr_t kMappings = 0x10000000, kMappingsEnd = 0x1ff00000;  // 256 … 511 MB

std::uintptr_t heap = 0, mapped = kMappings;

void put(std::uint16_t port, char c) { asm volatile("outb %0, %1" : : "a"(c), "Nd"(port)); }
void print(const char* text, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) put(0xe9, text[i]);
}

[[noreturn]] void end(int status) {
  const std::string_view said = status == 0 ? "status 0\n" : "status 1\n";
  print(said.data(), said.size());
  for (const char c : std::string_view("Shutdown")) put(0x8900, c);
  for (;;) asm volatile("hlt");
}

void write_register(std::uint32_t number, std::uint64_t value) {
  asm volatile("wrmsr" : : "c"(number), "a"(static_cast<std::uint32_t>(value)),
               "d"(static_cast<std::uint32_t>(value >> 32)));
}

// arch_prctl: the base of FS, and leave to use tiles, which the processor gives anyway.
long set_up_process(long what, std::uint64_t value) {
  constexpr long kSetFs = 0x1002, kAskForRegisters = 0x1023;
  if (what == kSetFs) write_register(0xc0000100, value);
  return what == kSetFs || what == kAskForRegisters ? 0 : -22;
}

long move_heap(std::uintptr_t end_of_heap) {
  if (heap == 0) heap = (reinterpret_cast<std::uintptr_t>(&_end) + 4095) & ~std::uintptr_t{4095};
  if (end_of_heap >= heap && end_of_heap < kHeapEnd) heap = end_of_heap;
  return static_cast<long>(heap);
}

// Never given back: tests are short, and pages must be zeros.
long map(std::size_t bytes) {
  const std::size_t whole = (bytes + 4095) & ~std::size_t{4095};
  if (whole > kMappingsEnd - mapped) return -12;
  mapped += whole;
  return static_cast<long>(mapped - whole);
}

}  // namespace

extern "C" long answer_call(long number, long first, long second, long third) {
  switch (number) {
    case 1:  // write
      print(reinterpret_cast<const char*>(second), static_cast<std::size_t>(third));
      return third;
    case 9:
      return map(static_cast<std::size_t>(second));
    case 12:
      return move_heap(static_cast<std::uintptr_t>(first));
    case 158:
      return set_up_process(first, static_cast<std::uint64_t>(second));
    case 10:   // mprotect
    case 11:   // munmap
    case 13:   // rt_sigaction
    case 14:   // rt_sigprocmask
    case 202:  // futex: there is one thread
    case 273:  // set_robust_list
      return 0;
    case 39:   // getpid
    case 186:  // gettid
    case 218:  // set_tid_address
      return 1;
    case 60:
    case 231:  // exit, exit_group
    case 234:  // tgkill, of abort
      end(number == 234 ? 1 : static_cast<int>(first));
    default:
      return -38;  // ENOSYS
  }
}

// Of a system call: the number is in rax, arguments in rdi, rsi, rdx; all but rax must stay.
asm(R"(
.lcomm call_stack, 8
.globl call_entry
call_entry:
  movq %rsp, call_stack(%rip)
  movl $0xf800000, %esp
  pushq %rcx
  pushq %r11
  pushq %rdi
  pushq %rsi
  pushq %rdx
  pushq %r8
  pushq %r9
  pushq %r10
  movq %rdx, %rcx
  movq %rsi, %rdx
  movq %rdi, %rsi
  movq %rax, %rdi
  call answer_call
  popq %r10
  popq %r9
  popq %r8
  popq %rdx
  popq %rsi
  popq %rdi
  popq %r11
  popq %rcx
  pushq %r11
  popfq
  movq call_stack(%rip), %rsp
  jmpq *%rcx
.globl begin_program
begin_program:
  movl $0xff00000, %esp
  call prepare
  movq %rax, %rsp
  xorl %edx, %edx
  jmp _start
)");
extern "C" void call_entry();

// The stack as a program finds it: number of arguments, arguments, environment, facts.
extern "C" std::uintptr_t prepare() {
  write_register(0xc0000081, std::uint64_t{0x18} << 32);  // segments of system calls
  write_register(0xc0000082, reinterpret_cast<std::uintptr_t>(&call_entry));
  write_register(0xc0000084, 0);
  static const char name[] = "test", random[16] = {1, 2, 3, 4, 5, 6, 7, 8};
  const auto address = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p); };
  const std::uintptr_t header = address(&__ehdr_start);
  const std::uintptr_t words[] = {
      1, address(name), 0,  // arguments
      0,                    // environment
      3, header + *reinterpret_cast<const std::uint64_t*>(header + 32),  // AT_PHDR
      4, 56, 5, *reinterpret_cast<const std::uint16_t*>(header + 56),   // AT_PHENT, AT_PHNUM
      6, 4096, 23, 0, 25, address(random),  // AT_PAGESZ, AT_SECURE, AT_RANDOM
      0, 0};
  static_assert(sizeof words <= 1024);
  auto* const stack = reinterpret_cast<std::uintptr_t*>(kStack - 1024);
  for (std::size_t i = 0; i < sizeof words / sizeof *words; ++i) stack[i] = words[i];
  return address(stack);
}
