# What an emulated x86-64 processor runs when it is switched on: the last 64 KB below 4 GB.
#
# In: an image below this one (run.py writes both); its address and bytes stand at ffffffe0 and
# ffffffe4. Out: it lies at PROGRAM, and the program runs whose address its first eight bytes are: in
# 64-bit mode, with all vector and tile registers, memory where it lies (no translation), the highest
# privilege, and no system but system_calls.cpp.

.set PROGRAM, 0x3ff000
.set TABLES, 0x1000         # pages: three levels of them, then 1 GB in pages of 2 MB
.set ALL_REGISTERS, 0x600e7  # XCR0: x87, SSE, AVX, AVX-512 and the tiles

.text
.code16
start:
    cli
    inb $0x92, %al           # address line 20, of which half of all memory hides behind
    orb $2, %al
    outb %al, $0x92
    lgdtl %cs:(table_of_segments - 0xffff0000)
    movl %cr0, %eax
    orl $1, %eax            # protected mode
    movl %eax, %cr0
    ljmpl $0x08, $protected

.code32
protected:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $(TABLES + 0x1003), TABLES          # present, writable
    movl $(TABLES + 0x2003), TABLES + 0x1000
    movl $0x83, %eax                         # and large
    movl $(TABLES + 0x2000), %edi
page:
    movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    cmpl $(TABLES + 0x3000), %edi
    jne page
    movl $(TABLES + 0x3003), TABLES + 0x1000 + 24   # the fourth GB, where this code lies
    movl $0xc0000083, %eax
    movl $(TABLES + 0x3000), %edi
upper_page:
    movl %eax, (%edi)
    addl $0x200000, %eax
    addl $8, %edi
    cmpl $(TABLES + 0x4000), %edi
    jne upper_page
    movl $TABLES, %eax
    movl %eax, %cr3
    movl $0x40620, %eax      # PAE, SSE, its exceptions, XSAVE
    movl %eax, %cr4
    movl $0xc0000080, %ecx   # EFER: 64 bits, and system calls
    movl $0x101, %eax
    xorl %edx, %edx
    wrmsr
    movl $0x80000023, %eax   # paging, errors of x87, protected mode
    movl %eax, %cr0
    ljmpl $0x18, $whole

.code64
whole:
    xorl %ecx, %ecx
    movl $ALL_REGISTERS, %eax
    xorl %edx, %edx
    xsetbv
    movl $0xffffffe0, %ebx
    movl (%rbx), %esi
    movl 4(%rbx), %ecx
    movl $PROGRAM, %edi
    movq %rdi, %rax
    rep movsb
    jmp *(%rax)

.balign 8
segments:
    .quad 0
    .quad 0x00cf9b000000ffff  # 0x08: code in 32 bits
    .quad 0x00cf93000000ffff  # 0x10: data
    .quad 0x00af9b000000ffff  # 0x18: code in 64 bits
    .quad 0x00cf93000000ffff  # 0x20: data
table_of_segments:
    .word . - segments - 1
    .long segments

.org 0xfff0                   # where the processor begins
.code16
    jmp start
.org 0x10000
