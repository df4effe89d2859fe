#ifndef EDGETUNE_STORAGE_BLOB_FILES_H_
#define EDGETUNE_STORAGE_BLOB_FILES_H_

// Where a blob store's files lie, and how one becomes a blob; for the sources
// of this room. <directory>/{blobs,partial,temporary}/.

#include <string>

#include "absl/status/status.h"
#include "privacy/crypto/hash.h"
#include "storage/file_descriptor.h"

namespace edgetune {

std::string BlobDirectory(const std::string& directory);
std::string PartialDirectory(const std::string& directory);
std::string TemporaryDirectory(const std::string& directory);
std::string BlobPath(const std::string& directory, const Digest& digest);

// Makes `file`, found at `path` and verified to have `digest`, durable and
// then the blob. When it is there already only its durability is ensured.
absl::Status Publish(const std::string& directory, const FileDescriptor& file,
                     const std::string& path, const Digest& digest);

}  // namespace edgetune

#endif  // EDGETUNE_STORAGE_BLOB_FILES_H_
