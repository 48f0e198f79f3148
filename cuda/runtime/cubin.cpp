// SPDX-License-Identifier: Apache-2.0
// Sections .text.K (code), .nv.shared.K (size), .nv.info (per function) and .nv.info.K.
#include "runtime/cubin.h"

#include <elf.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "softmpc/error.h"

namespace softmpc::cuda {
namespace {

[[noreturn]] void damaged(const char* what) { throw Error(std::string("cubin: ") + what); }

template <class T>
T read(std::string_view bytes, std::size_t at) {
  if (at > bytes.size() || sizeof(T) > bytes.size() - at) damaged("ends too early");
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

struct Section {
  std::string name;
  Elf64_Shdr header;
  std::string_view bytes;
};

std::string name_at(std::string_view table, std::size_t at) {
  if (at >= table.size()) damaged("a name lies outside its table");
  const std::string_view rest = table.substr(at);
  return std::string(rest.substr(0, rest.find('\0')));
}

std::vector<Section> read_sections(std::string_view file) {
  const auto head = read<Elf64_Ehdr>(file, 0);
  if (std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
      head.e_shentsize != sizeof(Elf64_Shdr)) {
    damaged("not a 64-bit ELF file");
  }
  std::vector<Section> sections;
  for (std::size_t i = 0; i < head.e_shnum; ++i) {
    const auto header = read<Elf64_Shdr>(file, head.e_shoff + i * sizeof(Elf64_Shdr));
    std::string_view bytes;
    if (header.sh_type != SHT_NOBITS) {
      if (header.sh_offset > file.size() || header.sh_size > file.size() - header.sh_offset)
        damaged("a section lies outside the file");
      bytes = file.substr(header.sh_offset, header.sh_size);
    }
    sections.push_back({"", header, bytes});
  }
  if (head.e_shstrndx >= sections.size()) damaged("no names of sections");
  const std::string_view names = sections[head.e_shstrndx].bytes;
  for (Section& s : sections) s.name = name_at(names, s.header.sh_name);
  return sections;
}

// Records of .nv.info: format, attribute, a 16-bit value, or the size of what follows.
constexpr int kSizedFormat = 4;
// From sm_90 on the first bytes of a block's shared memory are the system's, and counted by the
// section; ptxas -v and the limits of a device leave them out.
constexpr int kReservedShared = 1024;
constexpr int kFrameSize = 0x11, kMinStackSize = 0x12, kParameterBytes = 0x19, kRegisters = 0x2f;

template <class Use>
void for_each_record(std::string_view info, const Use& use) {
  for (std::size_t at = 0; at + 4 <= info.size();) {
    const int format = read<std::uint8_t>(info, at), attribute = read<std::uint8_t>(info, at + 1);
    const int value = read<std::uint16_t>(info, at + 2);
    at += 4;
    std::string_view payload;
    if (format == kSizedFormat) {
      if (static_cast<std::size_t>(value) > info.size() - at) damaged("a record ends too early");
      payload = info.substr(at, static_cast<std::size_t>(value));
      at += payload.size();
    }
    use(attribute, value, payload);
  }
}

// Index of a symbol in the symbol table.
std::uint32_t symbol_index(const std::vector<Section>& sections, const std::string& name) {
  for (const Section& s : sections) {
    if (s.header.sh_type != SHT_SYMTAB || s.header.sh_link >= sections.size()) continue;
    const std::string_view names = sections[s.header.sh_link].bytes;
    for (std::uint32_t i = 0; i < s.bytes.size() / sizeof(Elf64_Sym); ++i) {
      const auto symbol = read<Elf64_Sym>(s.bytes, i * sizeof(Elf64_Sym));
      if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC && name_at(names, symbol.st_name) == name)
        return i;
    }
  }
  throw Error("cubin: no kernel '" + name + "'");
}

// Low 9 bits of an opcode say what it does, those above where its operand lies.
constexpr int kOperationBits = 0x1ff;
constexpr int kF2i = 0x105, kF2iWide = 0x111;  // wide: one side has 64 bits

}  // namespace

int CubinFacts::to_integer() const {
  int sum = 0;
  for (const auto& [opcode, often] : opcodes) {
    const int operation = opcode & kOperationBits;
    if (operation == kF2i || operation == kF2iWide) sum += often;
  }
  return sum;
}

CubinFacts read_cubin(std::string_view cubin, const std::string& kernel) {
  const std::vector<Section> sections = read_sections(cubin);
  const std::uint32_t symbol = symbol_index(sections, kernel);
  CubinFacts facts;
  const auto function_record = [&](int attribute, int, std::string_view payload) {
    if (payload.size() != 8 || read<std::uint32_t>(payload, 0) != symbol) return;
    const int value = read<std::int32_t>(payload, 4);
    if (attribute == kRegisters) facts.registers = value;
    if (attribute == kFrameSize) facts.frame_bytes = value;
    if (attribute == kMinStackSize) facts.stack_bytes = value;
  };
  const auto kernel_record = [&](int attribute, int value, std::string_view) {
    if (attribute == kParameterBytes) facts.parameter_bytes = value;
  };
  bool reserves = false;
  for (const Section& s : sections) {
    reserves |= s.name == ".nv.shared.reserved.0";
    if (s.name == ".nv.info") for_each_record(s.bytes, function_record);
    if (s.name == ".nv.info." + kernel) for_each_record(s.bytes, kernel_record);
    if (s.name == ".nv.shared." + kernel) facts.static_shared = static_cast<int>(s.header.sh_size);
    if (s.name == ".text." + kernel) {
      for (std::size_t at = 0; at + 16 <= s.bytes.size(); at += 16)
        ++facts.opcodes[read<std::uint16_t>(s.bytes, at) & 0xfff];
    }
  }
  if (reserves) facts.static_shared = std::max(0, facts.static_shared - kReservedShared);
  if (facts.registers == 0) damaged("no count of registers");
  return facts;
}

}  // namespace softmpc::cuda
