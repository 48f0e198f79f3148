// SPDX-License-Identifier: Apache-2.0
// The safetensors format: 8-byte header length, JSON header, data. Tensors are copied into storage
// of their own, which is aligned; nothing is computed on in the file's bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "softmpc/error.h"

namespace softmpc {

enum class TensorType { f32, f64, i64, u8 };

template <class T>
struct TensorTypeOf;
template <>
struct TensorTypeOf<float> {
  static constexpr TensorType value = TensorType::f32;
};
template <>
struct TensorTypeOf<double> {
  static constexpr TensorType value = TensorType::f64;
};
template <>
struct TensorTypeOf<std::int64_t> {
  static constexpr TensorType value = TensorType::i64;
};
template <>
struct TensorTypeOf<std::uint8_t> {
  static constexpr TensorType value = TensorType::u8;
};

/// A text from a file, fit for one line: a control character becomes '?'.
std::string printable(std::string text);

const char* to_string(TensorType type);  ///< as in the file: "F32"
std::size_t element_bytes(TensorType type);

/// One array, row-major, with its type and shape.
struct Tensor {
  TensorType type = TensorType::f32;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;

  bool operator==(const Tensor&) const = default;

  /// Copies `values`, whose number is the product of `shape`.
  template <class T>
  static Tensor of(std::vector<std::int64_t> shape, std::span<const T> values) {
    const auto raw = std::as_bytes(values);
    return {TensorTypeOf<T>::value, std::move(shape), {raw.begin(), raw.end()}};
  }
  /// A copy of the values; an Error if the tensor is of another type.
  template <class T>
  std::vector<T> values() const {
    if (type != TensorTypeOf<T>::value) {
      throw Error(std::string("is of type ") + to_string(type) + " and not " +
                  to_string(TensorTypeOf<T>::value));
    }
    std::vector<T> out(bytes.size() / sizeof(T));
    if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size() * sizeof(T));
    return out;
  }
};

/// The content of a safetensors file.
struct TensorFile {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
  bool operator==(const TensorFile&) const = default;
};

/// The bytes of a file; the data starts at a multiple of 64. An Error if a shape does not fit its
/// data.
std::string encode_safetensors(const TensorFile& file);
/// Throws Error saying what is wrong; the text does not name the file.
TensorFile decode_safetensors(std::string_view bytes);

/// "crc32c:" and 8 hexadecimal digits: over every metadata entry but "checksum" (name, 0, value,
/// 0), then every tensor (name, 0, dtype, 0, sizes joined by commas, 0, data), each in the byte
/// order of the names.
std::string content_checksum(const TensorFile& file);

/// Reads and decodes; every Error names `path`.
TensorFile read_safetensors(const std::string& path);
/// Encodes and writes atomically.
void write_safetensors(const std::string& path, const TensorFile& file);

}  // namespace softmpc
