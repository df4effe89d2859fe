#ifndef EDGETUNE_TOOLS_MODEL_BASE_FILES_H_
#define EDGETUNE_TOOLS_MODEL_BASE_FILES_H_

// The files of a base model and the digest that names it. Stateless.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "protos/edgetune/v1/plan.pb.h"

namespace edgetune {

struct BaseFile {
  std::string name;  // in plans and in the cache
  std::string path;
};

// A lone GGUF is "model.gguf", whatever the user called it; a directory has the
// files that its model is read from, under their names. Errors are those of
// ModelFile::Open.
absl::StatusOr<std::vector<BaseFile>> BaseFilesOf(const std::string& path);

// What `model import` leaves beside the files: their names, sizes and digests.
inline constexpr char kPartsFile[] = "edgetune_parts.json";
std::string PartsText(const std::vector<v1::FilePart>& parts);

// All of them, hashed.
absl::StatusOr<std::vector<v1::FilePart>> BasePartsOf(const std::string& path);

// Name, size and SHA-256.
absl::StatusOr<v1::FilePart> PartOf(const BaseFile& file);

// What people compare, in hexadecimal: of a lone file its own SHA-256, of a
// directory the base digest.
std::string BaseSha256(const v1::ModelSpec& model);
uint64_t BaseBytes(const v1::ModelSpec& model);

// 32 bytes: SHA-256 of the parts' canonical encoding, in any order.
std::string BaseDigest(const std::vector<v1::FilePart>& parts);

}  // namespace edgetune

#endif  // EDGETUNE_TOOLS_MODEL_BASE_FILES_H_
