// A hash of everything that the kernels compute for a fixed set of rows. The value below holds on
// every instruction set; this program stands on nothing but core's headers and float_row.cc, so
// that it can be built for other machines and run under an emulator. Exit status 1 where the hash
// differs.
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "core/float_row.h"
#include "core/load.h"
#include "core/row-inl.h"

namespace lossd {
namespace {

constexpr uint64_t kGolden = 0x4347da9e93042b6d;

/// FNV-1a over values as bits.
class Hash {
 public:
  void Add(uint64_t bits) {
    for (unsigned shift = 0; shift < 64; shift += 8) {
      value_ = (value_ ^ ((bits >> shift) & 0xFFU)) * 0x100000001b3U;
    }
  }
  void Add(double value) { Add(std::bit_cast<uint64_t>(value)); }
  void Add(float value) { Add(uint64_t{std::bit_cast<uint32_t>(value)}); }
  [[nodiscard]] uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0xcbf29ce484222325U;
};

/// A generator of integers alone: the same on every machine.
class Generator {
 public:
  uint32_t Next() {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return static_cast<uint32_t>(state_ >> 33U);
  }
  /// Multiples of 2^-16 in +-`range`, sometimes -inf.
  float Logit(int range) {
    if (Next() % 37 == 0) return -HUGE_VALF;
    const auto steps = static_cast<uint32_t>(range) << 17U;
    return static_cast<float>(static_cast<int32_t>(Next() % steps) - (range << 16)) * 0x1p-16F;
  }

 private:
  uint64_t state_ = 20240229;
};

void AddRows(const FloatRowKernels& kernels, Generator* generator, Hash* hash) {
  for (const size_t classes : {1U, 2U, 5U, 16U, 17U, 63U, 64U, 65U, 100U, 129U, 1000U, 4097U}) {
    for (const int range : {1, 10, 100, 900, 2000}) {
      std::vector<float> x(classes);
      for (float& value : x) value = generator->Logit(range);
      x[generator->Next() % classes] = 0.5F;
      const FloatRowStats stats = kernels.analyze(x.data(), classes);
      hash->Add(stats.max);
      hash->Add(static_cast<uint64_t>(stats.argmax));
      if (stats.in_range) {
        hash->Add(stats.tail);
        hash->Add(stats.max_mantissa);
        std::vector<float> scaled(classes);
        kernels.scale_exponentials(x.data(), classes, stats, -0x1.234566p-60F, scaled.data());
        for (const float value : scaled) hash->Add(value);
      }
      // The passes in double, over the same logits as float32 and as float64.
      std::vector<double> exponentials(classes);
      std::vector<double> wide(x.begin(), x.end());
      Row<float> narrow_row(reinterpret_cast<const std::byte*>(x.data()),
                            static_cast<int64_t>(classes), exponentials.data());
      narrow_row.Analyze();
      hash->Add(narrow_row.stats().tail);
      hash->Add(narrow_row.stats().log_norm);
      Row<double> wide_row(reinterpret_cast<const std::byte*>(wide.data()),
                           static_cast<int64_t>(classes), exponentials.data());
      wide_row.Analyze();
      hash->Add(wide_row.stats().tail);
      hash->Add(wide_row.stats().log_norm);
      for (const double value : exponentials) hash->Add(value);
    }
  }
}

void AddGroups(const FloatRowKernels& kernels, Generator* generator, Hash* hash) {
  const auto group = std::make_unique<FloatGroup>();
  for (size_t classes = 1; classes <= kMaxGroupClasses; ++classes) {
    group->classes = classes;
    group->gradient = true;
    for (size_t i = 0; i < kGroup; ++i) {
      for (size_t c = 0; c < classes; ++c) {
        group->logits[c * kGroup + i] = generator->Logit(i % 4 == 0 ? 900 : 20);
      }
      group->logits[(generator->Next() % classes) * kGroup + i] = 0.25F;
      group->labels[i] = static_cast<int32_t>(generator->Next() % classes);
      group->own[i] = i % 5 == 0 ? -0.37 : 1.0 / 3.0;
    }
    kernels.evaluate_group(group.get());
    for (size_t i = 0; i < kGroup; ++i) {
      hash->Add(uint64_t{group->good[i]});
      if (!group->good[i]) continue;
      hash->Add(group->negative_logs[i]);
      hash->Add(group->log_sum_exps[i]);
      hash->Add(static_cast<uint64_t>(group->argmax[i]));
      for (size_t c = 0; c < classes; ++c) hash->Add(group->gradients[c * kGroup + i]);
    }
  }
}

/// Every float16 and bfloat16 rounding of a few hundred thousand doubles.
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

int main() {
  lossd::Hash hash;
  lossd::Generator generator;
  const lossd::FloatRowKernels kernels = lossd::GetFloatRowKernels();
  lossd::AddRows(kernels, &generator, &hash);
  lossd::AddGroups(kernels, &generator, &hash);
  lossd::AddHalves(&generator, &hash);
  const bool same = hash.value() == lossd::kGolden;
  std::printf("%s: golden hash %016llx %s\n", lossd::FloatRowTarget(),
              static_cast<unsigned long long>(hash.value()), same ? "as expected" : "DIFFERS");
  return same ? EXIT_SUCCESS : EXIT_FAILURE;
}
