#include "training/images/jpeg_decoder.h"

#include <fmt/format.h>

#include <csetjmp>
#include <cstdio>
#include <utility>
#include <vector>

#include <jpeglib.h>  // wants <cstdio> before it

#include "base/status.h"

namespace edgetune {
namespace {

// A progressive file may come in any number of passes over all its pixels.
constexpr int kMostScans = 100;
// A block of 8 by 8 pixels takes a bit at least, which is its first code.
constexpr uint64_t kMostPixelsAByte = 64 * 8;

// One decoding. libjpeg reports errors by longjmp: the functions that it jumps
// out of, Begin and Finish, own nothing, all that is allocated belongs to this.
class JpegReading {
 public:
  explicit JpegReading(std::span<const uint8_t> file) : file_(file) {}
  ~JpegReading() { jpeg_destroy_decompress(&jpeg_); }
  JpegReading(const JpegReading&) = delete;
  JpegReading& operator=(const JpegReading&) = delete;

  // Up to the first scan. False: error().
  bool Begin();
  // All pixels and the end; then there are pixels(). False: error().
  bool Finish();

  const jpeg_decompress_struct& jpeg() const { return jpeg_; }
  std::vector<uint8_t> TakePixels() { return std::move(pixels_); }
  const char* error() const { return error_; }

 private:
  static JpegReading& Of(j_common_ptr jpeg) {
    return *static_cast<JpegReading*>(jpeg->client_data);
  }
  static void OnError(j_common_ptr jpeg);
  static void OnMessage(j_common_ptr jpeg, int level);
  static void OnProgress(j_common_ptr jpeg);

  const std::span<const uint8_t> file_;
  jpeg_decompress_struct jpeg_ = {};
  jpeg_error_mgr errors_ = {};
  jpeg_progress_mgr progress_ = {};
  std::jmp_buf on_error_;
  std::vector<uint8_t> pixels_;
  JSAMPROW row_ = nullptr;
  char error_[JMSG_LENGTH_MAX] = "";
};

void JpegReading::OnError(j_common_ptr jpeg) {
  JpegReading& self = Of(jpeg);
  jpeg->err->format_message(jpeg, self.error_);
  std::longjmp(self.on_error_, 1);
}

// Below 0: a warning, that is, bytes which mean nothing.
void JpegReading::OnMessage(j_common_ptr jpeg, int level) {
  if (level < 0) OnError(jpeg);
}

void JpegReading::OnProgress(j_common_ptr jpeg) {
  const auto* decompress = reinterpret_cast<j_decompress_ptr>(jpeg);
  if (decompress->input_scan_number <= kMostScans) return;
  JpegReading& self = Of(jpeg);
  std::snprintf(self.error_, sizeof(self.error_), "more than %d scans",
                kMostScans);
  std::longjmp(self.on_error_, 1);
}

bool JpegReading::Begin() {
  if (setjmp(on_error_)) return false;
  jpeg_.err = jpeg_std_error(&errors_);
  errors_.error_exit = OnError;
  errors_.emit_message = OnMessage;
  jpeg_.client_data = this;  // kept by jpeg_create_decompress, as is err
  jpeg_create_decompress(&jpeg_);
  progress_.progress_monitor = OnProgress;
  jpeg_.progress = &progress_;
  jpeg_mem_src(&jpeg_, file_.data(), file_.size());
  jpeg_read_header(&jpeg_, TRUE);
  return true;
}

bool JpegReading::Finish() {
  if (setjmp(on_error_)) return false;
  jpeg_.out_color_space =
      jpeg_.jpeg_color_space == JCS_GRAYSCALE ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_start_decompress(&jpeg_);
  pixels_.resize(size_t{jpeg_.output_width} * jpeg_.output_height *
                 static_cast<size_t>(jpeg_.output_components));
  while (jpeg_.output_scanline < jpeg_.output_height) {
    row_ = pixels_.data() + size_t{jpeg_.output_scanline} * jpeg_.output_width *
                                static_cast<size_t>(jpeg_.output_components);
    jpeg_read_scanlines(&jpeg_, &row_, 1);
  }
  jpeg_finish_decompress(&jpeg_);
  return true;
}

absl::Status DamagedJpeg(const JpegReading& reading) {
  return absl::DataLossError(fmt::format(
      "a damaged JPEG, or a kind that is not read: {}", reading.error()));
}

absl::Status CheckHeader(const jpeg_decompress_struct& jpeg,
                         uint64_t file_bytes, const RasterLimits& limits) {
  const J_COLOR_SPACE space = jpeg.jpeg_color_space;
  if (space != JCS_GRAYSCALE && space != JCS_YCbCr && space != JCS_RGB) {
    const bool cmyk = space == JCS_CMYK || space == JCS_YCCK;
    return absl::InvalidArgumentError(fmt::format(
        "a JPEG {} of {} components, read are grey and colour",
        cmyk ? "in CMYK," : "in colours without a name,", jpeg.num_components));
  }
  if (jpeg.arith_code) {
    return absl::InvalidArgumentError(
        "a JPEG with arithmetic coding, read is Huffman's");
  }
  const uint64_t width = jpeg.image_width, height = jpeg.image_height;
  EDGETUNE_RETURN_IF_ERROR(CheckRasterSize(width, height, limits));
  if (width * height <= file_bytes * kMostPixelsAByte) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("a JPEG of {} by {} pixels, more than its {} bytes can hold",
                  width, height, file_bytes));
}

}  // namespace

absl::StatusOr<Raster> DecodeJpeg(std::span<const uint8_t> file,
                                  const RasterLimits& limits) {
  if (FormatOf(file) != ImageFormat::kJpeg) {
    return absl::DataLossError("does not begin as a JPEG");
  }
  JpegReading reading(file);
  if (!reading.Begin()) return DamagedJpeg(reading);
  EDGETUNE_RETURN_IF_ERROR(CheckHeader(reading.jpeg(), file.size(), limits));
  if (!reading.Finish()) return DamagedJpeg(reading);
  const jpeg_decompress_struct& jpeg = reading.jpeg();
  return Raster{.width = jpeg.output_width,
                .height = jpeg.output_height,
                .channels = jpeg.output_components,
                .pixels = reading.TakePixels()};
}

}  // namespace edgetune
