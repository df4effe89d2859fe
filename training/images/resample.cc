#include "training/images/resample.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/status.h"

namespace edgetune {
namespace {

// What one pixel of a line is made of: neighbours from `first` on.
struct Taps {
  size_t first = 0;
  std::vector<float> weights;  // sum to 1
};

std::vector<Taps> TrianglesOf(int64_t from, int64_t to) {
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  const double reach = std::max(1.0, scale);
  std::vector<Taps> all;
  for (int64_t i = 0; i < to; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const auto first =
        std::max<int64_t>(0, static_cast<int64_t>(centre - reach));
    const auto end =
        std::min(from, static_cast<int64_t>(std::ceil(centre + reach)) + 1);
    std::vector<double> weights;
    double sum = 0;
    for (int64_t j = first; j < end; ++j) {
      const double away = std::abs(static_cast<double>(j) + 0.5 - centre);
      weights.push_back(std::max(0.0, 1 - away / reach));
      sum += weights.back();
    }
    Taps& taps = all.emplace_back();
    taps.first = static_cast<size_t>(first);
    for (const double weight : weights) {
      taps.weights.push_back(static_cast<float>(weight / sum));
    }
  }
  return all;
}

Raster ToGrey(const Raster& raster) {
  Raster grey;
  grey.width = raster.width;
  grey.height = raster.height;
  grey.channels = 1;
  grey.pixels.reserve(raster.pixels.size() / 3);
  for (size_t at = 0; at < raster.pixels.size(); at += 3) {
    const uint8_t* rgb = raster.pixels.data() + at;
    grey.pixels.push_back(static_cast<uint8_t>(
        (19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 32768u) >> 16));
  }
  return grey;
}

// One row with `to` pixels in place of its own.
void ShrinkRow(const uint8_t* row, size_t channels,
               const std::vector<Taps>& across, float* out) {
  for (const Taps& taps : across) {
    for (size_t c = 0; c < channels; ++c) {
      const uint8_t* from = row + taps.first * channels + c;
      float sum = 0;
      for (const float weight : taps.weights) {
        sum += weight * *from;
        from += channels;
      }
      *out++ = sum;
    }
  }
}

uint8_t Rounded(float value) {
  return static_cast<uint8_t>(std::clamp(value + 0.5f, 0.0f, 255.0f));
}

// Row after row of the result, whose channels become planes. A row of the image
// is shrunk for each row of the result that it is part of, two where the image
// shrinks, so that memory is that of two rows whatever the image's height.
void ShrinkInto(const Raster& raster, const std::vector<Taps>& across,
                const std::vector<Taps>& down, std::span<uint8_t> out) {
  const auto channels = static_cast<size_t>(raster.channels);
  const size_t stride = static_cast<size_t>(raster.width) * channels;
  const size_t width = across.size(), plane = width * down.size();
  std::vector<float> row(width * channels), sum(width * channels);
  for (size_t y = 0; y < down.size(); ++y) {
    std::ranges::fill(sum, 0.0f);
    const uint8_t* from = raster.pixels.data() + down[y].first * stride;
    for (const float weight : down[y].weights) {
      ShrinkRow(from, channels, across, row.data());
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += weight * row[i];
      from += stride;
    }
    for (size_t i = 0; i < sum.size(); ++i) {
      out[i % channels * plane + y * width + i / channels] = Rounded(sum[i]);
    }
  }
}

}  // namespace

void Resample(const Raster& raster, const ImageShape& shape,
              std::span<uint8_t> out) {
  EDGETUNE_CHECK(out.size() == static_cast<size_t>(shape.size()));
  EDGETUNE_CHECK(shape.channels == 1 || shape.channels == 3);
  if (raster.channels > shape.channels) {
    return Resample(ToGrey(raster), shape, out);
  }
  const auto channels = static_cast<size_t>(raster.channels);
  const auto plane = static_cast<size_t>(shape.height * shape.width);
  ShrinkInto(raster, TrianglesOf(raster.width, shape.width),
             TrianglesOf(raster.height, shape.height),
             out.first(channels * plane));
  for (size_t at = channels * plane; at < out.size(); at += plane) {
    std::ranges::copy(out.first(plane), out.subspan(at).begin());
  }
}

}  // namespace edgetune
