// SPDX-License-Identifier: Apache-2.0
// Tests for src/safetensors.cpp.
#include "io/safetensors.h"

#include <gtest/gtest.h>

#include <cmath>

#include "temp_folder.h"

namespace softmpc {
namespace {

using test::error_of;
using test::TempFolder;

TensorFile sample() {
  TensorFile file;
  file.tensors["bytes"] = Tensor::of<std::uint8_t>({3}, std::vector<std::uint8_t>{1, 2, 255});
  file.tensors["floats"] = Tensor::of<float>({2, 2}, std::vector<float>{1.5f, -2, 0, INFINITY});
  file.tensors["doubles"] = Tensor::of<double>({1}, std::vector<double>{0.1});
  file.tensors["wholes"] = Tensor::of<std::int64_t>({2}, std::vector<std::int64_t>{-1, 1LL << 60});
  file.tensors["scalar"] = Tensor::of<float>({}, std::vector<float>{7});
  file.tensors["empty"] = Tensor::of<float>({0, 4}, std::vector<float>{});
  file.metadata["text"] = "a \"quoted\"\nline, \xc3\xa9";
  return file;
}

/// A file of a hand-written header.
std::string raw(const std::string& header, std::size_t data_bytes) {
  std::string bytes(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, '\1');
}

std::string decode_error(const std::string& bytes) {
  return error_of<Error>([&] { decode_safetensors(bytes); });
}

TEST(Safetensors, RoundTripsEveryType) {
  const TensorFile file = sample();
  const TensorFile read = decode_safetensors(encode_safetensors(file));
  EXPECT_EQ(read, file);
  EXPECT_EQ(read.tensors.at("wholes").values<std::int64_t>()[1], 1LL << 60);
  EXPECT_EQ(read.tensors.at("empty").values<float>().size(), 0u);
}

TEST(Safetensors, DataStartAligned) {
  for (int n = 0; n < 70; ++n) {
    TensorFile file = sample();
    file.metadata["pad"] = std::string(static_cast<std::size_t>(n), 'x');
    const std::string bytes = encode_safetensors(file);
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    EXPECT_EQ((8 + length) % 64, 0u);
  }
}

TEST(Safetensors, AnEmptyFileRoundTrips) {
  EXPECT_EQ(decode_safetensors(encode_safetensors({})), TensorFile{});
}

TEST(Safetensors, ReadsEntriesInAnyOrderAndExtraSpace) {
  const TensorFile file =
      decode_safetensors(raw(R"( {"b": {"data_offsets": [4, 8], "shape": [1], "dtype": "F32"},
             "a": {"dtype": "U8", "shape": [2, 2], "data_offsets": [0, 4]}} )",
                             8));
  EXPECT_EQ(file.tensors.at("a").shape, (std::vector<std::int64_t>{2, 2}));
  EXPECT_EQ(file.tensors.at("b").bytes.size(), 4u);
}

TEST(Safetensors, ATensorOfAnotherTypeIsRefused) {
  EXPECT_EQ(error_of<Error>([] { sample().tensors.at("bytes").values<float>(); }),
            "is of type U8 and not F32");
}

TEST(Safetensors, AShapeThatDoesNotFitIsNotWritten) {
  TensorFile file = sample();
  file.tensors["floats"].shape = {5};
  const TempFolder folder;
  EXPECT_EQ(error_of<Error>([&] { write_safetensors(folder.file("x"), file); }),
            folder.file("x") +
                ": cannot be saved: tensor floats: its data and its shape have "
                "different sizes");
  file = sample();
  file.metadata["bad"] = "\xff";
  EXPECT_EQ(error_of<Error>([&] { write_safetensors(folder.file("x"), file); }),
            folder.file("x") +
                ": cannot be saved: a tensor's name or the metadata are not UTF-8 "
                "text");
  EXPECT_TRUE(folder.names().empty());
}

TEST(Safetensors, EveryMalformedHeaderIsNamed) {
  const auto entry = [](const std::string& type, const std::string& shape,
                        const std::string& offsets) {
    return R"({"t":{"dtype":)" + type + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets +
           "}}";
  };
  EXPECT_EQ(decode_error("1234567"), "is truncated: it has no header");
  EXPECT_EQ(decode_error(std::string(8, '\xff')),
            "is not a safetensors file: its header is too long");
  EXPECT_EQ(decode_error(raw("{}", 0).substr(0, 9)), "is truncated within its header");
  EXPECT_EQ(decode_error(raw("{", 0)), "its header is not JSON");
  EXPECT_EQ(decode_error(raw(std::string("{} \0", 4), 0)), "its header is not JSON");
  EXPECT_EQ(decode_error(raw("[]", 0)), "its header is not a JSON object");
  EXPECT_EQ(decode_error(raw(R"({"t":1})", 0)), "tensor t: its header entry is not an object");
  EXPECT_EQ(decode_error(raw(R"({"t":{}})", 0)), "tensor t: it has no dtype");
  EXPECT_EQ(decode_error(raw(entry(R"("F16")", "[1]", "[0,2]"), 2)),
            "tensor t: its dtype is not one of F32, F64, I64, U8");
  EXPECT_EQ(decode_error(raw(entry("7", "[1]", "[0,2]"), 2)),
            "tensor t: its dtype is not one of F32, F64, I64, U8");
  EXPECT_EQ(decode_error(raw(entry(R"("U8")", "3", "[0,3]"), 3)),
            "tensor t: its shape is not a list");
  EXPECT_EQ(decode_error(raw(entry(R"("U8")", "[-3]", "[0,3]"), 3)),
            "tensor t: its shape are not sizes");
  EXPECT_EQ(decode_error(raw(entry(R"("U8")", "[18446744073709551615]", "[0,3]"), 3)),
            "tensor t: its shape is too large");
  EXPECT_EQ(decode_error(raw(entry(R"("F32")", "[4294967296,4294967296]", "[0,0]"), 0)),
            "tensor t: its shape is too large");
  EXPECT_EQ(decode_error(raw(entry(R"("U8")", "[3]", "[0]"), 3)),
            "tensor t: its data_offsets are not a pair");
  EXPECT_EQ(decode_error(raw(entry(R"("U8")", "[3]", "[0,1.5]"), 3)),
            "tensor t: its data_offsets are not sizes");
  EXPECT_EQ(decode_error(raw(entry(R"("U8")", "[3]", "[3,0]"), 3)),
            "tensor t: its data lie outside the file (is it truncated?)");
  EXPECT_EQ(decode_error(raw(entry(R"("U8")", "[3]", "[0,3]"), 2)),
            "tensor t: its data lie outside the file (is it truncated?)");
  EXPECT_EQ(decode_error(raw(entry(R"("U8")", "[2]", "[0,3]"), 3)),
            "tensor t: its data and its shape have different sizes");
  EXPECT_EQ(decode_error(raw(entry(R"("U8")", "[2]", "[1,3]"), 3)),
            "tensor t: its data leave a gap before them");
  EXPECT_EQ(decode_error(raw(entry(R"("U8")", "[2]", "[0,2]"), 3)),
            "has 3 bytes of data, its header describes 2");
  EXPECT_EQ(decode_error(raw(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},
                                 "b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
                             3)),
            "tensor b: its data overlap those of another");
  EXPECT_EQ(decode_error(raw(R"({"__metadata__":3})", 0)), "__metadata__ is not an object");
  EXPECT_EQ(decode_error(raw(R"({"__metadata__":{"a":3}})", 0)), "metadata a: is not a string");
  EXPECT_EQ(decode_error(raw(R"({"__metadata__":{"a":"1","a":"2"}})", 0)),
            "its header has a name twice");
}

TEST(Safetensors, DeepHeadersDoNotCrash) {
  EXPECT_EQ(decode_error(raw(std::string(1000000, '['), 0)), "its header is not JSON");
  const std::string deep = "{\"t\":" + std::string(100000, '[') + std::string(100000, ']') + "}";
  EXPECT_EQ(decode_error(raw(deep, 0)), "tensor t: its header entry is not an object");
}

TEST(Safetensors, ErrorsNameTheFile) {
  const TempFolder folder;
  write_safetensors(folder.file("x"), sample());
  EXPECT_EQ(read_safetensors(folder.file("x")), sample());
  std::filesystem::resize_file(folder.file("x"), 100);
  EXPECT_EQ(error_of<Error>([&] { read_safetensors(folder.file("x")); }),
            folder.file("x") + ": is truncated within its header");
}

}  // namespace
}  // namespace softmpc
