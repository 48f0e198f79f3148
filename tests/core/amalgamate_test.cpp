// SPDX-License-Identifier: Apache-2.0
// Tests for src/amalgamate.cpp.
#include "amalgamate.h"

#include <gtest/gtest.h>

#include <map>

#include "softmpc/error.h"
#include "temp_folder.h"

namespace softmpc {
namespace {

const std::map<std::string, std::string> kFiles = {
    {"a/one.h", "#pragma once\n#include <cmath>\n#include \"two.h\"\nint one;\n"},
    {"a/two.h", "# pragma once\n  #  include \"../b/three.h\"\nint two;"},
    {"b/three.h", "#include \"a/one.h\"\n#include \"unknown.h\"\nint three;\n"}};

std::optional<std::string_view> find(const std::string& path) {
  const auto found = kFiles.find(path);
  if (found == kFiles.end()) return std::nullopt;
  return found->second;
}

TEST(Amalgamation, PutsEachFileOnceAndKeepsLinesTrue) {
  Amalgamation text(find);
  text.add_file("a/one.h");
  text.add_file("b/three.h");  // there already
  EXPECT_EQ(text.text(),
            "#line 1 \"a/one.h\"\n\n\n"
            "#line 1 \"a/two.h\"\n\n"
            "#line 1 \"b/three.h\"\n#line 2 \"b/three.h\"\n#include \"unknown.h\"\nint three;\n"
            "#line 3 \"a/two.h\"\nint two;\n"
            "#line 4 \"a/one.h\"\nint one;\n");
}

TEST(Amalgamation, LooksFromTheTextsFolder) {
  Amalgamation text(find);
  text.add_text("#include \"../b/three.h\"", "a/rules");
  EXPECT_NE(text.text().find("int one;"), std::string::npos);
}

TEST(Amalgamation, TakesOurHeadersInAngleBrackets) {
  Amalgamation text([](const std::string& path) -> std::optional<std::string_view> {
    if (path == "softmpc/hd/math.h") return "int math;";
    return std::nullopt;
  });
  text.add_text("#include <softmpc/hd/math.h>\n#include <softmpc/other.h>\n#include <vector>\n",
                "r");
  EXPECT_EQ(text.text(),
            "#line 1 \"r\"\n#line 1 \"softmpc/hd/math.h\"\nint math;\n#line 2 \"r\"\n"
            "#include <softmpc/other.h>\n\n");
}

TEST(Amalgamation, NamesAMissingFile) {
  Amalgamation text(find);
  EXPECT_EQ(test::error_of<Error>([&] { text.add_file("c.h"); }),
            "no file 'c.h' is built into the library");
}

}  // namespace
}  // namespace softmpc
