# Run by softmpc_embed at build time: OUT, NAME, NAMESPACE, ROOT, FILES (separated by |).
set(chunk 8000)  # compilers limit the length of one literal, not that of neighbours joined

set(head "// Generated; edit the embedded files instead.\n")
file(WRITE "${OUT}.h.new" "${head}#pragma once

#include <span>
#include <string_view>

#ifndef SOFTMPC_EMBEDDED_FILE
#define SOFTMPC_EMBEDDED_FILE
namespace softmpc::detail {
struct EmbeddedFile {
  const char* name;
  std::string_view text;
};
}  // namespace softmpc::detail
#endif

namespace ${NAMESPACE} {
std::span<const softmpc::detail::EmbeddedFile> ${NAME}();
}
")

set(rows "")
set(count 0)
string(REPLACE "|" ";" FILES "${FILES}")
foreach(name IN LISTS FILES)
  file(READ "${ROOT}/${name}" text)
  if(text MATCHES "\\)softmpc\"")
    message(FATAL_ERROR "softmpc_embed: ${name} contains the delimiter )softmpc\"")
  endif()
  string(LENGTH "${text}" length)
  set(literals "")
  set(begin 0)
  while(begin LESS length)
    string(SUBSTRING "${text}" ${begin} ${chunk} part)
    string(APPEND literals "\n     R\"softmpc(${part})softmpc\"")
    math(EXPR begin "${begin} + ${chunk}")
  endwhile()
  if(literals STREQUAL "")
    set(literals "\"\"")
  endif()
  string(APPEND rows "    {\"${name}\", ${literals}sv},\n")
  math(EXPR count "${count} + 1")
endforeach()

file(WRITE "${OUT}.cpp.new" "${head}#include \"${NAME}.h\"

namespace ${NAMESPACE} {
using namespace std::string_view_literals;

static constexpr softmpc::detail::EmbeddedFile kFiles[${count}] = {
${rows}};

std::span<const softmpc::detail::EmbeddedFile> ${NAME}() { return kFiles; }
}  // namespace ${NAMESPACE}
")
file(RENAME "${OUT}.h.new" "${OUT}.h")
file(RENAME "${OUT}.cpp.new" "${OUT}.cpp")
