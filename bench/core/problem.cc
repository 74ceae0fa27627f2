#include "bench/core/problem.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <numeric>
#include <random>

#include "bench/core/bandwidth.h"
#include "core/batch.h"
#include "core/problem/load.h"
#include "core/problem/plan.h"

namespace lossd::bench {
namespace {

constexpr size_t kLine = 64;
constexpr size_t kRotation = size_t{256} << 20U;
constexpr size_t kMostCopies = 4096;
constexpr size_t kPiece = size_t{256} << 10U;  ///< Bytes that a thread reads or copies at a time.

size_t RoundUp(size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

}  // namespace

void AlignedBytes::Free::operator()(std::byte* data) const { std::free(data); }

AlignedBytes::AlignedBytes(size_t size)
    : data_(static_cast<std::byte*>(std::aligned_alloc(kLine, RoundUp(size)))) {
  if (data_ == nullptr) throw std::bad_alloc();
  std::memset(data_.get(), 1, RoundUp(size));
}

BenchProblem::BenchProblem(DType dtype, const Shape& shape, Target target)
    : target_(target), input_spec_{dtype, shape} {
  target_spec_ = {dtype, shape};
  if (target != Target::kProbabilities) {
    target_spec_.dtype = DType::kInt64;
    target_spec_.shape.erase(target_spec_.shape.begin() + 1);
  }
  const auto product = [](const Shape& of) {
    return static_cast<size_t>(
        std::accumulate(of.begin(), of.end(), int64_t{1}, std::multiplies<>()));
  };
  const size_t elements = product(shape);
  input_bytes_ = elements * SizeOf(dtype);
  stride_ = RoundUp(input_bytes_);
  copies_ = std::clamp<size_t>(kRotation / stride_, 2, kMostCopies);
  memory_.emplace_back(copies_ * stride_);
  memory_.emplace_back(copies_ * stride_);
  std::mt19937_64 random(1);
  std::normal_distribution<float> logits(0.0F, 2.0F);
  for (size_t i = 0; i < elements; ++i) {
    StoreFromDouble(dtype, static_cast<double>(logits(random)),
                    memory_[0].data() + i * SizeOf(dtype));
  }
  for (size_t i = 1; i < copies_; ++i) {
    std::memcpy(memory_[0].data() + i * stride_, memory_[0].data(), input_bytes_);
  }
  FillTarget(product(target_spec_.shape));
}

void BenchProblem::FillTarget(size_t count) {
  target_bytes_ = count * SizeOf(target_spec_.dtype);
  std::mt19937_64 random(2);
  if (target_ == Target::kProbabilities) {
    // One copy for each copy of the logits.
    target_stride_ = stride_;
    memory_.emplace_back(copies_ * stride_);
    const double most = 2.0 / static_cast<double>(input_spec_.shape[1]);
    std::uniform_real_distribution<double> share(0, most);
    const size_t size = SizeOf(target_spec_.dtype);
    for (size_t i = 0; i < count; ++i) {
      StoreFromDouble(target_spec_.dtype, share(random), memory_[2].data() + i * size);
    }
    for (size_t i = 1; i < copies_; ++i) {
      std::memcpy(memory_[2].data() + i * stride_, memory_[2].data(), target_bytes_);
    }
    return;
  }
  memory_.emplace_back(target_bytes_);
  std::uniform_int_distribution<int64_t> labels(0, input_spec_.shape[1] - 1);
  for (size_t i = 0; i < count; ++i) {
    StoreRaw(memory_[2].data() + i * SizeOf(DType::kInt64), labels(random));
  }
}

void BenchProblem::Evaluate(bool gradient, size_t copy, Pool* pool) {
  Problem problem;
  problem.input = input_spec_;
  problem.target = target_spec_;
  problem.outputs.grad_input = gradient;
  if (target_ == Target::kSmoothing) problem.criterion.cross_entropy().label_smoothing = 0.1;
  auto plan = Plan::Create(problem);
  float loss = 0;
  OutputBuffers outputs;
  outputs.loss = reinterpret_cast<std::byte*>(&loss);
  if (gradient) outputs.grad_input = memory_[1].data() + copy * stride_;
  const Operands operands{{memory_[0].data() + copy * stride_, input_bytes_},
                          {memory_[2].data() + copy * target_stride_, target_bytes_},
                          {}};
  if (!plan.ok() || !EvaluateBatch(*plan, operands, outputs, pool).ok() || !std::isfinite(loss)) {
    std::abort();
  }
  sink_ += loss;
}

bool BenchProblem::Run(const std::string& what, Pool* pool) {
  const size_t copy = next_++ % copies_;
  if (what == "loss" || what == "gradient") {
    Evaluate(what == "gradient", copy, pool);
    return true;
  }
  if (what != "read" && what != "memcpy" && what != "stream") return false;
  const std::byte* from = memory_[0].data() + copy * stride_;
  std::byte* to = memory_[1].data() + copy * stride_;
  const auto pieces = static_cast<int64_t>((stride_ + kPiece - 1) / kPiece);
  std::vector<float> most(static_cast<size_t>(pieces));
  pool->Run(pieces, [&](int64_t index, Scratch* /*scratch*/) {
    const size_t begin = static_cast<size_t>(index) * kPiece;
    const size_t size = std::min(kPiece, stride_ - begin);
    if (what == "read") {
      most[static_cast<size_t>(index)] = ReadAll(from + begin, size);
    } else if (what == "memcpy") {
      std::memcpy(to + begin, from + begin, size);
    } else {
      StreamingCopy(from + begin, size, to + begin);
    }
  });
  sink_ += most[0];
  return true;
}

}  // namespace lossd::bench
