// SPDX-License-Identifier: Apache-2.0
// Reading and writing of safetensors; the reader trusts nothing that the file says.
#include "io/safetensors.h"

#include <algorithm>
#include <cstdio>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "io/atomic_file.h"
#include "io/crc32c.h"

namespace softmpc {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kAlignment = 64;
constexpr std::uint64_t kLongestHeader = 100'000'000;  // the limit of the reference implementation

struct TypeRow {
  TensorType type;
  const char* name;
  std::size_t bytes;
};
constexpr TypeRow kTypes[] = {{TensorType::f32, "F32", 4},
                              {TensorType::f64, "F64", 8},
                              {TensorType::i64, "I64", 8},
                              {TensorType::u8, "U8", 1}};

const TypeRow& row_of(TensorType type) {
  for (const TypeRow& row : kTypes) {
    if (row.type == type) return row;
  }
  throw Error("tensor type " + std::to_string(static_cast<int>(type)) + " is unknown");
}

/// A name from the file, fit for one line of a message.
std::string shown(std::string text) {
  text = printable(std::move(text));
  return text.size() > 60 ? text.substr(0, 60) + "..." : text;
}

/// a * b, or an Error; sizes come from the file and may be chosen to overflow.
std::uint64_t product(std::uint64_t a, std::uint64_t b) {
  if (b != 0 && a > std::numeric_limits<std::uint64_t>::max() / b) {
    throw Error("its shape is too large");
  }
  return a * b;
}

std::uint64_t data_bytes(TensorType type, const std::vector<std::int64_t>& shape) {
  std::uint64_t bytes = element_bytes(type);
  for (const std::int64_t size : shape) {
    if (size < 0) throw Error("its shape has a negative size");
    bytes = product(bytes, static_cast<std::uint64_t>(size));
  }
  return bytes;
}

/// A whole, non-negative number of the header.
std::uint64_t whole(const Json& value, const char* what) {
  if (!value.is_number_unsigned()) throw Error(std::string("its ") + what + " are not sizes");
  return value.get<std::uint64_t>();
}

const Json& member(const Json& object, const char* key) {
  const auto at = object.find(key);
  if (at == object.end()) throw Error(std::string("it has no ") + key);
  return *at;
}

struct Placed {
  std::string name;
  std::uint64_t begin, end;
};

/// One entry of the header, with its data copied out of `data`.
Tensor read_tensor(const Json& entry, std::string_view data, Placed& place) {
  if (!entry.is_object()) throw Error("its header entry is not an object");
  const Json& type = member(entry, "dtype");
  const auto row = std::find_if(std::begin(kTypes), std::end(kTypes), [&](const TypeRow& r) {
    return type.is_string() && type.get_ref<const std::string&>() == r.name;
  });
  if (row == std::end(kTypes)) {
    throw Error("its dtype is not one of F32, F64, I64, U8");
  }
  Tensor tensor;
  tensor.type = row->type;
  const Json& shape = member(entry, "shape");
  if (!shape.is_array()) throw Error("its shape is not a list");
  for (const Json& size : shape) {
    const std::uint64_t n = whole(size, "shape");
    if (n > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      throw Error("its shape is too large");
    }
    tensor.shape.push_back(static_cast<std::int64_t>(n));
  }
  const Json& offsets = member(entry, "data_offsets");
  if (!offsets.is_array() || offsets.size() != 2) throw Error("its data_offsets are not a pair");
  place.begin = whole(offsets[0], "data_offsets");
  place.end = whole(offsets[1], "data_offsets");
  if (place.begin > place.end || place.end > data.size()) {
    throw Error("its data lie outside the file (is it truncated?)");
  }
  if (place.end - place.begin != data_bytes(tensor.type, tensor.shape)) {
    throw Error("its data and its shape have different sizes");
  }
  const auto bytes = std::as_bytes(
      std::span(data.data() + place.begin, static_cast<std::size_t>(place.end - place.begin)));
  tensor.bytes.assign(bytes.begin(), bytes.end());
  return tensor;
}

/// The data belong to exactly one tensor each: no overlap, no hole, nothing behind.
void check_layout(std::vector<Placed> places, std::size_t data_size) {
  std::sort(places.begin(), places.end(), [](const Placed& a, const Placed& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t end = 0;
  for (const Placed& place : places) {
    if (place.begin != end) {
      throw Error("tensor " + shown(place.name) + ": its data " +
                  (place.begin < end ? "overlap those of another" : "leave a gap before them"));
    }
    end = place.end;
  }
  if (end != data_size) {
    throw Error("has " + std::to_string(data_size) + " bytes of data, its header describes " +
                std::to_string(end));
  }
}

Json parse_header(std::string_view text) {
  // nlohmann takes a zero byte for the end of the text, and what follows would go unseen.
  if (text.find('\0') != std::string_view::npos) throw Error("its header is not JSON");
  // Names that occur twice would hide data from the checks; nlohmann keeps the last of them.
  std::vector<std::set<std::string>> open;
  bool twice = false;
  const auto watch = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key) {
      twice |= !open.back().insert(parsed.get<std::string>()).second;
    }
    return true;
  };
  try {
    Json header = Json::parse(text.begin(), text.end(), watch);
    if (twice) throw Error("its header has a name twice");
    if (!header.is_object()) throw Error("its header is not a JSON object");
    return header;
  } catch (const nlohmann::json::exception&) {
    throw Error("its header is not JSON");
  }
}

std::string dump_header(const Json& header) {
  try {
    return header.dump();
  } catch (const nlohmann::json::exception&) {
    throw Error("a tensor's name or the metadata are not UTF-8 text");
  }
}

void read_metadata(const Json& entry, TensorFile& file) {
  if (!entry.is_object()) throw Error("__metadata__ is not an object");
  for (const auto& item : entry.items()) {
    if (!item.value().is_string()) {
      throw Error("metadata " + shown(item.key()) + ": is not a string");
    }
    file.metadata[item.key()] = item.value().get<std::string>();
  }
}

}  // namespace

std::string printable(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text;
}

const char* to_string(TensorType type) { return row_of(type).name; }
std::size_t element_bytes(TensorType type) { return row_of(type).bytes; }

std::string encode_safetensors(const TensorFile& file) {
  Json header = Json::object();
  if (!file.metadata.empty()) header["__metadata__"] = file.metadata;
  // Large elements first keeps every tensor aligned to its element, as the reference writer does.
  std::vector<std::pair<const std::string*, const Tensor*>> order;
  for (const auto& [name, tensor] : file.tensors) order.emplace_back(&name, &tensor);
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return element_bytes(a.second->type) > element_bytes(b.second->type);
  });
  std::uint64_t offset = 0;
  for (const auto& [name, tensor] : order) {
    if (tensor->bytes.size() != data_bytes(tensor->type, tensor->shape)) {
      throw Error("tensor " + *name + ": its data and its shape have different sizes");
    }
    header[*name] = {{"dtype", to_string(tensor->type)},
                     {"shape", tensor->shape},
                     {"data_offsets", {offset, offset + tensor->bytes.size()}}};
    offset += tensor->bytes.size();
  }
  std::string text = dump_header(header);
  text.append((kAlignment - (8 + text.size()) % kAlignment) % kAlignment, ' ');

  const std::uint64_t length = text.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  bytes.reserve(8 + text.size() + offset);
  bytes += text;
  for (const auto& item : order) {
    bytes.append(reinterpret_cast<const char*>(item.second->bytes.data()),
                 item.second->bytes.size());
  }
  return bytes;
}

TensorFile decode_safetensors(std::string_view bytes) {
  if (bytes.size() < 8) throw Error("is truncated: it has no header");
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), 8);
  if (length > kLongestHeader) throw Error("is not a safetensors file: its header is too long");
  if (length > bytes.size() - 8) throw Error("is truncated within its header");
  const Json header = parse_header(bytes.substr(8, static_cast<std::size_t>(length)));
  const std::string_view data = bytes.substr(8 + static_cast<std::size_t>(length));

  TensorFile file;
  std::vector<Placed> places;
  for (const auto& item : header.items()) {
    if (item.key() == "__metadata__") {
      read_metadata(item.value(), file);
      continue;
    }
    Placed place{item.key(), 0, 0};
    try {
      file.tensors[item.key()] = read_tensor(item.value(), data, place);
    } catch (const Error& error) {
      throw Error("tensor " + shown(item.key()) + ": " + error.what());
    }
    places.push_back(std::move(place));
  }
  check_layout(std::move(places), data.size());
  return file;
}

std::string content_checksum(const TensorFile& file) {
  std::uint32_t crc = 0;
  const auto add = [&crc](const std::string& text) {
    crc = crc32c(std::string_view(text.c_str(), text.size() + 1), crc);
  };
  for (const auto& [name, value] : file.metadata) {
    if (name == "checksum") continue;
    add(name);
    add(value);
  }
  for (const auto& [name, tensor] : file.tensors) {
    std::string sizes;
    for (const std::int64_t size : tensor.shape) {
      if (!sizes.empty()) sizes += ',';
      sizes += std::to_string(size);
    }
    add(name);
    add(to_string(tensor.type));
    add(sizes);
    crc = crc32c(tensor.bytes, crc);
  }
  char text[32];
  std::snprintf(text, sizeof(text), "crc32c:%08x", crc);
  return text;
}

TensorFile read_safetensors(const std::string& path) {
  const std::string bytes = read_file(path);
  try {
    return decode_safetensors(bytes);
  } catch (const Error& error) {
    throw Error(path + ": " + error.what());
  }
}

void write_safetensors(const std::string& path, const TensorFile& file) {
  std::string bytes;
  try {
    bytes = encode_safetensors(file);
  } catch (const Error& error) {
    throw Error(path + ": cannot be saved: " + error.what());
  }
  write_file_atomically(path, bytes);
}

}  // namespace softmpc
