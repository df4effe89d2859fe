#include "training/images/png_decoder.h"

#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace edgetune {
namespace {

constexpr size_t kPngBeginning = 8;
// Deflate makes at most 1,032 bytes of one (zlib's technical details), and what
// a file has beside its pixels only makes it larger.
constexpr uint64_t kMostInflation = 1032;

uint32_t BigEndianAt(std::span<const uint8_t> bytes, size_t at) {
  return uint32_t{bytes[at]} << 24 | uint32_t{bytes[at + 1]} << 16 |
         uint32_t{bytes[at + 2]} << 8 | bytes[at + 3];
}

// Whether a chunk of this type stands before the image's end. libpng would
// leave unknown chunks out, and an animation would be its first picture.
bool HasChunk(std::span<const uint8_t> file, std::string_view type) {
  constexpr size_t kHead = 8, kCheck = 4;
  size_t at = kPngBeginning;
  while (file.size() - at >= kHead) {
    const uint64_t length = BigEndianAt(file, at);
    const std::string_view found(
        reinterpret_cast<const char*>(file.data() + at + 4), 4);
    if (found == type) return true;
    if (found == "IEND" || file.size() - at - kHead < length + kCheck) break;
    at += kHead + length + kCheck;
  }
  return false;
}

// One decoding. libpng reports errors by longjmp: the functions that it jumps
// out of, Begin and Finish, own nothing, all that is allocated belongs to this.
class PngReading {
 public:
  explicit PngReading(std::span<const uint8_t> file) : left_(file) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, OnError,
                                  [](png_structp, png_const_charp) {});
    info_ = png_ == nullptr ? nullptr : png_create_info_struct(png_);
    EDGETUNE_CHECK(info_ != nullptr);
  }
  ~PngReading() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReading(const PngReading&) = delete;
  PngReading& operator=(const PngReading&) = delete;

  // Up to the pixels. False: error().
  bool Begin();
  // All pixels and the end; then there are pixels(). False: error().
  bool Finish();

  uint32_t width() const { return png_get_image_width(png_, info_); }
  uint32_t height() const { return png_get_image_height(png_, info_); }
  // After Begin as they are stored, after Finish 1 to 4 bytes: grey or RGB,
  // with opacity or without.
  uint64_t bits_a_pixel() const {
    return uint64_t{png_get_bit_depth(png_, info_)} *
           png_get_channels(png_, info_);
  }
  std::vector<uint8_t> TakePixels() { return std::move(pixels_); }
  const char* error() const { return error_; }

 private:
  static void OnError(png_structp png, png_const_charp message);
  static void OnRead(png_structp png, png_bytep out, size_t size);
  void MakeRows();

  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::span<const uint8_t> left_;
  std::vector<uint8_t> pixels_;
  std::vector<png_bytep> rows_;
  char error_[128] = "";
};

void PngReading::OnError(png_structp png, png_const_charp message) {
  auto* self = static_cast<PngReading*>(png_get_error_ptr(png));
  std::strncpy(self->error_, message, sizeof(self->error_) - 1);
  png_longjmp(png, 1);
}

void PngReading::OnRead(png_structp png, png_bytep out, size_t size) {
  auto* self = static_cast<PngReading*>(png_get_io_ptr(png));
  if (size > self->left_.size()) png_error(png, "it ends too early");
  std::memcpy(out, self->left_.data(), size);
  self->left_ = self->left_.subspan(size);
}

bool PngReading::Begin() {
  if (setjmp(png_jmpbuf(png_))) return false;
  png_set_read_fn(png_, this, OnRead);
  // Nothing but the image is read: no text, no profile (which are packed).
  png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  png_set_benign_errors(png_, 0);
  // Sizes are checked by the caller, before anything is allocated for them.
  png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_read_info(png_, info_);
  return true;
}

void PngReading::MakeRows() {
  const size_t row = png_get_rowbytes(png_, info_);
  pixels_.resize(row * height());
  for (size_t y = 0; y < height(); ++y) {
    rows_.push_back(pixels_.data() + y * row);
  }
}

bool PngReading::Finish() {
  if (setjmp(png_jmpbuf(png_))) return false;
  png_set_expand(png_);
  png_set_scale_16(png_);
  png_set_interlace_handling(png_);
  png_read_update_info(png_, info_);
  MakeRows();
  png_read_image(png_, rows_.data());
  png_read_end(png_, nullptr);
  return true;
}

absl::Status DamagedPng(const PngReading& reading) {
  return absl::DataLossError(fmt::format("a damaged PNG: {}", reading.error()));
}

// `channels` with the last of them, the opacity, worked into the others.
std::vector<uint8_t> OverBlack(std::span<const uint8_t> pixels,
                               size_t channels) {
  std::vector<uint8_t> out;
  out.reserve(pixels.size() / channels * (channels - 1));
  for (size_t at = 0; at < pixels.size(); at += channels) {
    const uint32_t opacity = pixels[at + channels - 1];
    for (size_t c = 0; c + 1 < channels; ++c) {
      out.push_back(
          static_cast<uint8_t>((pixels[at + c] * opacity + 127) / 255));
    }
  }
  return out;
}

absl::Status CheckPngSize(const PngReading& reading, uint64_t file_bytes,
                          const RasterLimits& limits) {
  EDGETUNE_RETURN_IF_ERROR(
      CheckRasterSize(reading.width(), reading.height(), limits));
  const uint64_t bits =
      uint64_t{reading.width()} * reading.height() * reading.bits_a_pixel();
  if (bits / 8 <= file_bytes * kMostInflation) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("a PNG of {} by {} pixels, more than its {} bytes can hold",
                  reading.width(), reading.height(), file_bytes));
}

}  // namespace

absl::StatusOr<Raster> DecodePng(std::span<const uint8_t> file,
                                 const RasterLimits& limits) {
  if (FormatOf(file) != ImageFormat::kPng) {
    return absl::DataLossError("does not begin as a PNG");
  }
  if (HasChunk(file, "acTL")) {
    return absl::InvalidArgumentError(
        "an animated PNG, read are single pictures");
  }
  PngReading reading(file);
  if (!reading.Begin()) return DamagedPng(reading);
  EDGETUNE_RETURN_IF_ERROR(CheckPngSize(reading, file.size(), limits));
  if (!reading.Finish()) return DamagedPng(reading);
  const uint64_t channels = reading.bits_a_pixel() / 8;
  Raster raster = {.width = reading.width(),
                   .height = reading.height(),
                   .channels = channels <= 2 ? 1 : 3,
                   .pixels = reading.TakePixels()};
  if (channels % 2 == 0) raster.pixels = OverBlack(raster.pixels, channels);
  return raster;
}

}  // namespace edgetune
