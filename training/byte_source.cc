#include "training/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/status.h"

namespace edgetune {
namespace {

constexpr int kWindowLog = 23;  // 8 MiB
constexpr uint8_t kGzipFirstByte = 0x1f;
constexpr int kGzipOnly = 16 + 15;  // zlib: gzip header, largest window

absl::Status DamagedArchive(const std::string& what) {
  return absl::DataLossError("a damaged archive: " + what);
}

// What both formats share: the packed bytes that are not used up yet.
class Unpacker : public ByteSource {
 public:
  explicit Unpacker(ByteSource& packed) : packed_(packed) {}

 protected:
  // Makes `left()` non-empty unless the source has ended.
  absl::Status Refill() {
    if (begin_ < end_) return absl::OkStatus();
    EDGETUNE_ASSIGN_OR_RETURN(end_, packed_.Read(block_));
    begin_ = 0;
    return absl::OkStatus();
  }
  std::span<const uint8_t> left() const {
    return std::span(block_).subspan(begin_, end_ - begin_);
  }
  void Use(size_t bytes) { begin_ += bytes; }

 private:
  ByteSource& packed_;
  std::array<uint8_t, kSourceBlock> block_;
  size_t begin_ = 0, end_ = 0;
};

class GzipSource final : public Unpacker {
 public:
  explicit GzipSource(ByteSource& packed) : Unpacker(packed) {
    EDGETUNE_CHECK(inflateInit2(&stream_, kGzipOnly) == Z_OK);
  }
  ~GzipSource() override { inflateEnd(&stream_); }

  absl::StatusOr<size_t> Read(std::span<uint8_t> out) override {
    while (true) {
      EDGETUNE_RETURN_IF_ERROR(Refill());
      // A full output may leave more inside the decoder without any input.
      if (left().empty() && !pending_) {
        if (whole_members_ > 0 && !inside_) return 0;
        return DamagedArchive("it ends too early");
      }
      if (!inside_ && whole_members_ > 0 && left()[0] != kGzipFirstByte) {
        return DamagedArchive("other bytes follow its end");
      }
      EDGETUNE_ASSIGN_OR_RETURN(const size_t made, Inflate(out));
      if (made > 0) return made;
    }
  }

 private:
  absl::StatusOr<size_t> Inflate(std::span<uint8_t> out) {
    stream_.next_in = const_cast<uint8_t*>(left().data());
    stream_.avail_in = static_cast<uInt>(left().size());
    stream_.next_out = out.data();
    stream_.avail_out = static_cast<uInt>(out.size());
    inside_ = true;
    const int code = inflate(&stream_, Z_NO_FLUSH);
    Use(left().size() - stream_.avail_in);
    if (code == Z_STREAM_END) {
      inside_ = false;
      ++whole_members_;
      inflateReset(&stream_);
    } else if (code != Z_OK && code != Z_BUF_ERROR) {
      return DamagedArchive(whole_members_ == 0 && stream_.total_out == 0
                                ? "this is no gzip file"
                                : "gzip's checks fail");
    }
    pending_ = inside_ && stream_.avail_out == 0;
    return out.size() - stream_.avail_out;
  }

  z_stream stream_ = {};
  bool inside_ = false;   // a member
  bool pending_ = false;  // unpacked bytes wait for room
  uint64_t whole_members_ = 0;
};

class ZstdSource final : public Unpacker {
 public:
  explicit ZstdSource(ByteSource& packed)
      : Unpacker(packed), stream_(ZSTD_createDCtx()) {
    EDGETUNE_CHECK(stream_ != nullptr);
    ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, kWindowLog);
  }
  ~ZstdSource() override { ZSTD_freeDCtx(stream_); }

  absl::StatusOr<size_t> Read(std::span<uint8_t> out) override {
    while (true) {
      EDGETUNE_RETURN_IF_ERROR(Refill());
      if (left().empty() && !pending_) {
        if (whole_frames_ > 0 && !inside_) return 0;
        return DamagedArchive("it ends too early");
      }
      EDGETUNE_ASSIGN_OR_RETURN(const size_t made, Decode(out));
      if (made > 0) return made;
    }
  }

 private:
  absl::StatusOr<size_t> Decode(std::span<uint8_t> out) {
    ZSTD_inBuffer in = {left().data(), left().size(), 0};
    ZSTD_outBuffer to = {out.data(), out.size(), 0};
    const size_t more = ZSTD_decompressStream(stream_, &to, &in);
    Use(in.pos);
    if (ZSTD_isError(more)) return Refused();
    inside_ = more != 0;
    if (!inside_) ++whole_frames_;
    pending_ = inside_ && to.pos == to.size;
    return to.pos;
  }

  absl::Status Refused() const {
    if (whole_frames_ > 0 && !inside_) {
      return DamagedArchive("other bytes follow its end");
    }
    return DamagedArchive(
        "this is no Zstandard file, its checks fail, or its window is above "
        "8 MiB");
  }

  ZSTD_DCtx* const stream_;
  bool inside_ = false;   // a frame
  bool pending_ = false;  // unpacked bytes wait for room
  uint64_t whole_frames_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FileSource>> FileSource::Open(
    const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat about {};
  if (fd < 0 || fstat(fd, &about) != 0) {
    const absl::Status status = ErrnoStatus(errno, "cannot read", path);
    if (fd >= 0) close(fd);
    return Annotate(status, ErrorKind::kData);
  }
  if (!S_ISREG(about.st_mode)) {
    close(fd);
    return Annotate(absl::FailedPreconditionError(path + " is no file"),
                    ErrorKind::kData);
  }
  return std::unique_ptr<FileSource>(
      new FileSource(path, fd, static_cast<uint64_t>(about.st_size)));
}

FileSource::~FileSource() { close(fd_); }

absl::StatusOr<size_t> FileSource::Read(std::span<uint8_t> out) {
  ssize_t got;
  do {
    got = read(fd_, out.data(), out.size());
  } while (got < 0 && errno == EINTR);
  if (got < 0) {
    return Annotate(ErrnoStatus(errno, "cannot read", path_), ErrorKind::kData);
  }
  position_ += static_cast<uint64_t>(got);
  return static_cast<size_t>(got);
}

std::unique_ptr<ByteSource> Unpack(ByteSource& packed,
                                   Compression compression) {
  EDGETUNE_CHECK(compression != Compression::kNone);
  if (compression == Compression::kGzip) {
    return std::make_unique<GzipSource>(packed);
  }
  return std::make_unique<ZstdSource>(packed);
}

}  // namespace edgetune
