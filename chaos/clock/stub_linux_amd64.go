package clock

import "encoding/hex"

// Where the functions of the stub begin, and where its offset is.
const (
	atClockGettime = 0x00
	atGettimeofday = 0x3a
	atTime         = 0x82
	atOffset       = 0xb0
	stubSize       = 0xb8
)

// stub is what stands in for the vDSO's functions: the system call, and an offset in nanoseconds that is added to a wall clock
// (CLOCK_REALTIME is 0, CLOCK_REALTIME_COARSE is 5). Like C, it keeps all registers that a caller may want kept; the offset is
// read by one instruction, so it is either the old or the new one.
func stub() []byte {
	code, err := hex.DecodeString("" +
		"b8e4000000" + // clock_gettime: mov eax,0xe4
		"0f05" + // syscall
		"85c0" + // test eax,eax
		"752e" + // jne 0x39 of clock_gettime
		"85ff" + // test edi,edi
		"7405" + // je 0x14 of clock_gettime
		"83ff05" + // cmp edi,0x5
		"7525" + // jne 0x39 of clock_gettime
		"48690600ca9a3b" + // imul rax,[rsi],0x3b9aca00
		"48034608" + // add rax,[rsi+0x8]
		"4803058a000000" + // add rax,[offset]
		"4899" + // cqo
		"b900ca9a3b" + // mov ecx,0x3b9aca00
		"48f7f9" + // idiv rcx
		"488906" + // mov [rsi],rax
		"48895608" + // mov [rsi+0x8],rdx
		"31c0" + // xor eax,eax
		"c3" + // ret
		"b860000000" + // gettimeofday: mov eax,0x60
		"0f05" + // syscall
		"85c0" + // test eax,eax
		"753c" + // jne 0x47 of gettimeofday
		"4885ff" + // test rdi,rdi
		"7437" + // je 0x47 of gettimeofday
		"48690700ca9a3b" + // imul rax,[rdi],0x3b9aca00
		"48695708e8030000" + // imul rdx,[rdi+0x8],0x3e8
		"4801d0" + // add rax,rdx
		"4803054d000000" + // add rax,[offset]
		"4899" + // cqo
		"b900ca9a3b" + // mov ecx,0x3b9aca00
		"48f7f9" + // idiv rcx
		"488907" + // mov [rdi],rax
		"89d0" + // mov eax,edx
		"31d2" + // xor edx,edx
		"b9e8030000" + // mov ecx,0x3e8
		"f7f1" + // div ecx
		"48894708" + // mov [rdi+0x8],rax
		"31c0" + // xor eax,eax
		"c3" + // ret
		"57" + // time: push rdi
		"31ff" + // xor edi,edi
		"b8c9000000" + // mov eax,0xc9
		"0f05" + // syscall
		"5f" + // pop rdi
		"4869c000ca9a3b" + // imul rax,rax,0x3b9aca00
		"48030515000000" + // add rax,[offset]
		"4899" + // cqo
		"b900ca9a3b" + // mov ecx,0x3b9aca00
		"48f7f9" + // idiv rcx
		"4885ff" + // test rdi,rdi
		"7403" + // je 0x2b of time
		"488907" + // mov [rdi],rax
		"c3" + // ret
		"6690" + // xchg ax,ax
		"0000000000000000") // offset
	if err != nil {
		panic(err)
	}
	return code
}
