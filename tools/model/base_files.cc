#include "tools/model/base_files.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "base/units.h"
#include "models/io/model_file.h"
#include "privacy/crypto/hash.h"
#include "protos/plan_check.h"
#include "storage/blob_store.h"

namespace edgetune {

absl::StatusOr<std::vector<BaseFile>> BaseFilesOf(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) {
    return std::vector<BaseFile>{{"model.gguf", path}};
  }
  auto names = ModelFile::FilesOf(path);
  if (!names.ok()) return Annotate(names.status(), ErrorKind::kModel);
  std::vector<BaseFile> out;
  for (const std::string& name : *names) {
    out.push_back({name, path + "/" + name});
  }
  return out;
}

std::string PartsText(const std::vector<v1::FilePart>& parts) {
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  for (const v1::FilePart& part : parts) {
    files.push_back({{"name", part.name()},
                     {"bytes", part.size()},
                     {"sha256", ToHex(part.sha256())}});
  }
  const nlohmann::ordered_json out = {{"digest", ToHex(BaseDigest(parts))},
                                      {"files", files}};
  return out.dump(2) + "\n";
}

absl::StatusOr<std::vector<v1::FilePart>> BasePartsOf(const std::string& path) {
  EDGETUNE_ASSIGN_OR_RETURN(auto files, BaseFilesOf(path));
  std::vector<v1::FilePart> parts;
  for (const BaseFile& file : files) {
    EDGETUNE_ASSIGN_OR_RETURN(parts.emplace_back(), PartOf(file));
  }
  return parts;
}

absl::StatusOr<v1::FilePart> PartOf(const BaseFile& file) {
  EDGETUNE_ASSIGN_OR_RETURN(const Digest digest, HashFile(file.path));
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(file.path, error);
  if (error) return ErrnoStatus(error.value(), "cannot read", file.path);
  v1::FilePart part;
  part.set_name(file.name);
  part.set_size(size);
  part.set_sha256(DigestBytes(digest));
  return part;
}

std::string BaseSha256(const v1::ModelSpec& model) {
  return ToHex(model.parts_size() == 1 ? model.parts(0).sha256()
                                       : model.digest());
}

uint64_t BaseBytes(const v1::ModelSpec& model) {
  uint64_t out = 0;
  for (const v1::FilePart& part : model.parts()) out += part.size();
  return out;
}

std::string BaseDigest(const std::vector<v1::FilePart>& parts) {
  return Sha256Bytes(CanonicalBaseEncoding(parts));
}

}  // namespace edgetune
