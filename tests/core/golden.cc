// Hashes everything that the kernels compute for a fixed set of rows. The hash is the same on every
// instruction set. This program depends only on core's headers and row_kernels.cc, so that it can
// be built for other machines and run under an emulator. The exit status is 1 if the hash differs.
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "core/buffer.h"
#include "core/passes/row_kernels.h"
#include "core/problem/load.h"
#include "core/simd/row_targets.h"
#include "hwy/highway.h"

namespace lossd {
namespace {

constexpr uint64_t kGolden = 0x06f1155f8b9d9fd9;

/// FNV-1a over the bits of values.
class Hash {
 public:
  void AddByte(uint8_t byte) { value_ = (value_ ^ byte) * 0x100000001b3U; }
  void Add(uint64_t bits) {
    for (unsigned shift = 0; shift < 64; shift += 8) AddByte((bits >> shift) & 0xFFU);
  }
  void Add(double value) { Add(std::bit_cast<uint64_t>(value)); }
  void Add(float value) { Add(uint64_t{std::bit_cast<uint32_t>(value)}); }
  [[nodiscard]] uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xcbf29ce484222325U;
};

/// A random generator with integer arithmetic only, so that it is the same on every machine.
class Generator {
 public:
  uint32_t Next() {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return static_cast<uint32_t>(state_ >> 33U);
  }
  /// A multiple of 2^-16 within +-`range`, sometimes -inf.
  float Logit(int range) {
    if (Next() % 37 == 0) return -HUGE_VALF;
    const auto steps = static_cast<uint32_t>(range) << 17U;
    return static_cast<float>(static_cast<int32_t>(Next() % steps) - (range << 16)) * 0x1p-16F;
  }

 private:
  uint64_t state_ = 20240229;
};

/// The bytes of `values` in a storage type.
std::vector<std::byte> Narrowed(DType dtype, const std::vector<double>& values) {
  std::vector<std::byte> bytes(values.size() * SizeOf(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    StoreFromDouble(dtype, values[i], bytes.data() + i * SizeOf(dtype));
  }
  return bytes;
}

void AddBytes(const std::vector<std::byte>& bytes, Hash* hash) {
  for (const std::byte byte : bytes) hash->AddByte(std::to_integer<uint8_t>(byte));
}

/// Adds the float32 passes over one row.
void AddFloatRow(const RowKernels& kernels, const std::vector<std::byte>& x, size_t classes,
                 Hash* hash) {
  const std::byte* row = x.data();
  FloatRowStats stats;
  const bool keeps = classes <= kKeptClasses;
  const Buffer memory(KeptStep(classes) * sizeof(float));
  auto* kept = reinterpret_cast<float*>(memory.data());
  kernels.analyze(&row, 1, classes, keeps ? kept : nullptr, nullptr, &stats);
  hash->Add(uint64_t{stats.in_range});
  if (!stats.in_range) return;
  hash->Add(stats.max);
  hash->Add(uint64_t{kernels.find(row, classes, stats.max)});
  hash->Add(stats.tail);
  hash->Add(stats.log_norm);
  hash->Add(stats.max_mantissa);
  for (const bool stream : {false, true}) {
    std::vector<std::byte> scaled(x.size());
    kernels.index_gradient(x.data(), classes, stats, -0x1.234566p-63F,
                           {1, {classes / 2}, {-0x1.7654321p-2}}, stream, scaled.data());
    AddBytes(scaled, hash);
    if (!keeps) continue;
    KeptGradients due;
    due.count = 1;
    due.stream = stream;
    due.kept[0] = kept;
    due.factors[0] = static_cast<float>(-0x1.234566p-63 * stats.kept_scale);
    due.entries[0] = {1, {classes / 2}, {-0x1.7654321p-2}};
    due.to[0] = scaled.data();
    kernels.kept_gradients(due, classes);
    AddBytes(scaled, hash);
  }
}

/// Adds the double passes over one row, with the masses of a class index and of probabilities.
void AddWideRow(const RowKernels& kernels, DType input, DType target,
                const std::vector<std::byte>& x, const std::vector<double>& shares, size_t classes,
                Hash* hash) {
  std::vector<double> exponentials(classes);
  const WideRowStats stats = kernels.analyze_wide(x.data(), classes, exponentials.data());
  hash->Add(uint64_t{stats.valid});
  if (!stats.valid) return;
  hash->Add(static_cast<uint64_t>(stats.argmax));
  hash->Add(stats.tail);
  hash->Add(stats.log_norm);
  for (const double value : exponentials) hash->Add(value);
  std::vector<std::byte> out(x.size());
  kernels.scale_wide(exponentials.data(), classes, -1.0 / 3.0, out.data());
  AddBytes(out, hash);
  const std::vector<std::byte> t = Narrowed(target, shares);
  for (const MassSource& masses : {MassSource{t.data(), nullptr, 0.9, 0.1 / 7.0},
                                   MassSource{t.data(), shares.data(), 1.0, 0.0},
                                   MassSource{nullptr, shares.data(), 0.9, 0.01}}) {
    double total = 0;
    hash->Add(kernels.sum_masses(x.data(), classes, stats.max, masses, &total));
    hash->Add(total);
    kernels.mass_gradient(exponentials.data(), classes, total,
                          1.0 + stats.tail / (input == DType::kFloat64 ? kWideScale<double> : 1.0),
                          -0.3, masses, out.data());
    AddBytes(out, hash);
    std::vector<std::byte> target_gradient(t.size());
    kernels.target_gradient(x.data(), classes, stats, 0.7, masses, target_gradient.data());
    AddBytes(target_gradient, hash);
    std::vector<double> terms(classes);
    kernels.weight_terms(x.data(), classes, stats, 0.7, masses, terms.data());
    for (const double term : terms) hash->Add(term);
  }
}

/// Adds the float32 passes over one row with masses on many classes.
void AddSoftRow(const RowKernels& kernels, DType target, const std::vector<std::byte>& x,
                const std::vector<double>& shares, size_t classes, Hash* hash) {
  const std::vector<std::byte> t = Narrowed(target, shares);
  for (const MassSource& masses :
       {MassSource{nullptr, nullptr, 0.9, 0.1 / 7.0}, MassSource{nullptr, shares.data(), 0.9, 0.01},
        MassSource{t.data(), nullptr, 0.9, 0.1 / 7.0},
        MassSource{t.data(), shares.data(), 1.0, 0.0}}) {
    const SoftRowStats stats = kernels.analyze_soft(x.data(), classes, masses);
    hash->Add(uint64_t{stats.row.in_range});
    if (!stats.row.in_range) continue;
    hash->Add(static_cast<uint64_t>(stats.argmax));
    hash->Add(stats.row.tail);
    hash->Add(stats.row.log_norm);
    hash->Add(stats.below);
    hash->Add(stats.total);
    hash->Add(static_cast<uint64_t>(stats.target_argmax));
    for (const bool stream : {false, true}) {
      std::vector<std::byte> out(x.size());
      kernels.soft_gradient(x.data(), classes, stats.row, 0x1.234566p-63, -0.3, masses,
                            {1, {classes / 3}, {0.7}}, stream, out.data());
      AddBytes(out, hash);
    }
  }
}

void AddRows(DType input, DType target, Generator* generator, Hash* hash) {
  const RowKernels& kernels = GetRowKernels(input, target);
  for (const size_t classes : {1U, 2U, 17U, 64U, 65U, 100U, 129U, 1000U, 1024U, 1025U, 4097U}) {
    for (const int range : {1, 10, 100, 900, 2000}) {
      std::vector<double> logits(classes);
      std::vector<double> shares(classes);
      for (double& value : logits) value = static_cast<double>(generator->Logit(range));
      for (double& value : shares) value = static_cast<double>(generator->Next() % 64) / 64.0;
      // The maximum is far above the logits before it, so that the reference changes in mid-row.
      logits[generator->Next() % classes] = range == 100 ? 300.5 : 0.5;
      const std::vector<std::byte> x = Narrowed(input, logits);
      if (kernels.analyze != nullptr) {
        AddFloatRow(kernels, x, classes, hash);
        AddSoftRow(kernels, target, x, shares, classes, hash);
      }
      AddWideRow(kernels, input, target, x, shares, classes, hash);
    }
  }
}

void AddTile(const RowKernels& kernels, const TileLayout& layout, FloatTile* tile, Hash* hash) {
  std::vector<std::byte> out(layout.classes * layout.count * 4);
  kernels.store_tile(layout, layout.classes % 2 == 0, tile, out.data());
  AddBytes(out, hash);
  for (size_t i = 0; i < layout.count; ++i) {
    hash->Add(uint64_t{tile->good[i]});
    if (!tile->good[i]) continue;
    hash->Add(tile->losses[i]);
    hash->Add(tile->log_sum_exps[i]);
    hash->Add(static_cast<uint64_t>(tile->argmax[i]));
  }
}

void AddTiles(DType input, Generator* generator, Hash* hash) {
  const RowKernels& kernels = GetRowKernels(input, input);
  const auto tile = std::make_unique<FloatTile>();
  for (size_t classes = 1; classes <= kMaxTileClasses; ++classes) {
    // No more than any tile holds, so that the hash does not depend on the size of tiles.
    constexpr size_t kMost = 64;
    static_assert(kMost <= TilePositions(kMaxTileClasses));
    const size_t count = 1 + generator->Next() % kMost;
    std::vector<double> logits(classes * count);
    for (double& value : logits) value = static_cast<double>(generator->Logit(10));
    const std::vector<std::byte> x = Narrowed(input, logits);
    for (size_t i = 0; i < kMost; ++i) {
      tile->labels[i] = i < count ? static_cast<int32_t>(generator->Next() % classes) : -1;
      tile->scales[i] = i % 5 == 0 ? -0.37F : 1.0F / 3.0F;
    }
    tile->gradient = true;
    tile->logs = true;
    std::vector<double> shares(classes * count);
    for (double& value : shares) value = static_cast<double>(generator->Next() % 64) / 64.0;
    const std::vector<std::byte> t = Narrowed(input, shares);
    for (const TileLayout& layout :
         {TileLayout{classes, count, 1, classes}, TileLayout{classes, count, count, 1}}) {
      kernels.load_tile(x.data(), layout, tile.get());
      kernels.evaluate_tile(tile.get());
      AddTile(kernels, layout, tile.get(), hash);
      for (size_t i = 0; i < count; ++i) {
        if (tile->good[i]) hash->Add(tile->negative_logs[i]);
      }
      tile->unsmoothed = 0.9;
      tile->smooth = 0.1 / static_cast<double>(classes);
      tile->spread = 0.1;
      // With probabilities, labels are a result.
      for (const bool probabilities : {false, true}) {
        tile->probabilities = probabilities;
        kernels.load_tile_target(t.data(), layout, tile.get());
        kernels.evaluate_soft_tile(tile.get());
        AddTile(kernels, layout, tile.get(), hash);
        for (size_t i = 0; i < count; ++i) hash->Add(static_cast<uint64_t>(tile->labels[i]));
      }
    }
  }
}

/// Adds the float16 and bfloat16 roundings of 200,000 doubles.
void AddHalves(Generator* generator, Hash* hash) {
  for (int i = 0; i < 200000; ++i) {
    const double mantissa = static_cast<double>(generator->Next()) - 0x1p30;
    const double value = std::ldexp(mantissa, static_cast<int>(generator->Next() % 80) - 60);
    hash->Add(uint64_t{Narrow<Float16>(value).bits});
    hash->Add(uint64_t{Narrow<BFloat16>(value).bits});
  }
}

}  // namespace
}  // namespace lossd

namespace lossd {
namespace {

/// The hash for the instruction set that is selected now.
uint64_t HashAll() {
  Hash hash;
  Generator generator;
  constexpr std::pair<DType, DType> kPairs[] = {
      {DType::kFloat32, DType::kFloat32},   {DType::kFloat64, DType::kFloat64},
      {DType::kFloat16, DType::kFloat16},   {DType::kFloat16, DType::kFloat32},
      {DType::kBFloat16, DType::kBFloat16}, {DType::kBFloat16, DType::kFloat32}};
  for (const auto& [input, target] : kPairs) AddRows(input, target, &generator, &hash);
  for (const DType input : {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    AddTiles(input, &generator, &hash);
  }
  AddHalves(&generator, &hash);
  return hash.value();
}

bool Check() {
  const uint64_t hash = HashAll();
  const bool same = hash == kGolden;
  std::printf("%s: golden hash %016llx %s\n", InstructionSet(),
              static_cast<unsigned long long>(hash), same ? "as expected" : "DIFFERS");
  return same;
}

}  // namespace
}  // namespace lossd

int main() {
  bool same = true;
#ifdef HWY_COMPILE_ONLY_STATIC
  same = lossd::Check();
#else
  // Each instruction set that is compiled in and that this machine has.
  for (int64_t left = hwy::SupportedTargets() & HWY_TARGETS; left != 0; left &= left - 1) {
    hwy::SetSupportedTargetsForTest(left & -left);
    same = lossd::Check() && same;
    hwy::SetSupportedTargetsForTest(0);
  }
#endif
  return same ? EXIT_SUCCESS : EXIT_FAILURE;
}
