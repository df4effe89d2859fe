#ifndef EDGETUNE_STORAGE_FILE_BLOB_STORE_H_
#define EDGETUNE_STORAGE_FILE_BLOB_STORE_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "storage/blob_store.h"

namespace edgetune {

// BlobStore::Open's: a folder of files, one a blob.
class FileBlobStore final : public BlobStore {
 public:
  explicit FileBlobStore(std::string directory)
      : directory_(std::move(directory)) {}

  absl::StatusOr<uint64_t> Size(const Digest& digest) const override;
  absl::StatusOr<std::unique_ptr<BlobBytes>> Get(
      const Digest& digest) const override;
  absl::StatusOr<std::string> PathOf(const Digest& digest) const override;
  absl::StatusOr<Digest> Put(std::span<const uint8_t> bytes) override;
  absl::StatusOr<Digest> PutFile(const std::string& path) override;
  absl::Status Remove(const Digest& digest) override;
  absl::StatusOr<std::vector<Digest>> List() const override;

  // partial_blob.cc
  absl::StatusOr<uint64_t> PartialSize(const std::string& name) const override;
  absl::Status AppendPartial(const std::string& name, uint64_t offset,
                             std::span<const uint8_t> bytes,
                             uint64_t announced_size) override;
  absl::Status FinishPartial(const std::string& name, const Digest& digest,
                             uint64_t announced_size) override;
  absl::Status DropPartial(const std::string& name) override;
  absl::StatusOr<std::vector<std::string>> ListPartials() const override;

 private:
  const std::string directory_;
};

}  // namespace edgetune

#endif  // EDGETUNE_STORAGE_FILE_BLOB_STORE_H_
