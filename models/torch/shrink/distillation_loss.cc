#include "models/torch/shrink/distillation_loss.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <limits>
#include <tuple>

namespace edgetune {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

constexpr float kNothing = -std::numeric_limits<float>::infinity();

// Below every logarithm of a probability that float32 has: in the place of
// -inf where that would be subtracted from itself.
constexpr double kLowest = -1e30;

// The loss of some rows as a function of their logits: its sum, and its
// gradient where that is wanted.
class RowsLoss {
 public:
  RowsLoss(const at::Tensor& logits, bool with_gradient) : logits_(logits) {
    if (with_gradient) gradient_ = at::zeros_like(logits);
  }

  double sum() const { return sum_; }
  const at::Tensor& gradient() const { return gradient_; }

  // weight * -log softmax(z)_label + entropy * H(softmax(z)); dz of the first
  // is q less one at the label, of the second -q (log q + H).
  void AddOwn(const at::Tensor& labels, double weight, double entropy) {
    if (weight == 0 && entropy == 0) return;
    const at::Tensor own = at::log_softmax(logits_, 1);  // [n,V]
    const at::Tensor at = labels.unsqueeze(1);           // [n,1]
    sum_ -= weight * own.gather(1, at).sum(at::kDouble).item<double>();
    const at::Tensor q = own.exp();
    if (gradient_.defined() && weight != 0) {
      gradient_.add_(q, weight);
      gradient_.scatter_add_(
          1, at, at::full({labels.size(0), 1}, -weight, at::kFloat));
    }
    if (entropy == 0) return;
    const at::Tensor h = (q * own).sum(1, /*keepdim=*/true).neg_();  // [n,1]
    sum_ += entropy * h.sum(at::kDouble).item<double>();
    if (gradient_.defined()) gradient_.sub_((own + h).mul_(q), entropy);
  }

  // weight T^2 KL(p || q) at temperature T; dz is weight T (q - p).
  void AddTeacher(const at::Tensor& teacher_logits, double weight, double t) {
    const at::Tensor own = at::log_softmax(logits_ / t, 1);  // [n,V]
    const at::Tensor wanted = at::log_softmax(teacher_logits / t, 1);
    const at::Tensor p = wanted.exp();
    sum_ +=
        weight * t * t * (wanted - own).mul_(p).sum(at::kDouble).item<double>();
    if (gradient_.defined()) gradient_.add_(own.exp().sub_(p), weight * t);
  }

  // The same over the k tokens and the bucket, which holds q_r = the sum of the
  // other q: dz is weight T (q - p) of the k, weight T q (1 - p_r / q_r) of
  // the others.
  void AddTop(const TopTargets& top, double weight, double t) {
    const at::Tensor own = at::log_softmax(logits_ / t, 1);  // [n,V]
    const at::Tensor wanted = at::log_softmax(
        at::cat({top.values, top.rest.unsqueeze(1)}, 1), 1);  // [n,k+1]
    const at::Tensor p = wanted.exp();
    at::Tensor others = own.scatter(1, top.ids, kNothing);  // [n,V]
    const at::Tensor rest =
        others.logsumexp(1, /*keepdim=*/true).clamp_min_(kLowest);  // [n,1]
    const at::Tensor mine = at::cat({own.gather(1, top.ids), rest}, 1);
    sum_ += weight * t * t *
            at::where(p > 0, (wanted - mine).mul_(p), at::zeros({1}))
                .sum(at::kDouble)
                .item<double>();
    if (!gradient_.defined()) return;
    const int64_t k = top.ids.size(1);
    others.sub_(rest).exp_().mul_(p.narrow(1, k, 1));
    at::Tensor change = own.exp().sub_(others);
    change.scatter_add_(1, top.ids, p.narrow(1, 0, k).neg());
    gradient_.add_(change, weight * t);
  }

 private:
  const at::Tensor& logits_;
  at::Tensor gradient_;
  double sum_ = 0;
};

// Rows whose logits are there at once: as asked, or by the vocabulary.
int64_t RowsOf(int64_t asked, const at::Tensor& head) {
  return asked > 0 ? asked
                   : std::clamp<int64_t>(kDistillationLogits / head.size(0), 32,
                                         1024);
}

// All that the loss depends on besides what is trained; what a teacher does not
// have is undefined.
struct DistillationInputs {
  at::Tensor labels;
  TeacherOutput teacher;
  TopTargets top;
  DistillationWeights weights;
  int64_t rows;

  RowsLoss LossOf(const at::Tensor& logits, int64_t begin,
                  bool with_gradient) const {
    const int64_t n = logits.size(0);
    const auto cut = [&](const at::Tensor& x) { return x.narrow(0, begin, n); };
    RowsLoss loss(logits, with_gradient);
    loss.AddOwn(cut(labels), 1 - weights.alpha, weights.entropy);
    if (weights.alpha == 0) return loss;
    if (teacher.hidden.defined()) {
      loss.AddTeacher(at::mm(cut(teacher.hidden), teacher.head.t()),
                      weights.alpha, weights.temperature);
    } else {
      loss.AddTop({cut(top.ids), cut(top.values), cut(top.rest)}, weights.alpha,
                  weights.temperature);
    }
    return loss;
  }
};

// Gradients are made while a part's logits are there, going forward, and only
// scaled on the way back (as Hsu et al., 2024, Liger Kernel, do for cross
// entropy): nothing of the size of the logits is kept or computed again.
class DistillationFunction : public Function<DistillationFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& hidden,
                            const at::Tensor& head,
                            const DistillationInputs& in) {
    const bool train_head = head.requires_grad();
    const bool train = train_head || hidden.requires_grad();
    const at::Tensor dhidden = train ? at::empty_like(hidden) : at::Tensor();
    at::Tensor dhead = train_head ? at::zeros_like(head) : at::Tensor();
    double sum = 0;
    for (int64_t begin = 0; begin < hidden.size(0); begin += in.rows) {
      const int64_t n = std::min(in.rows, hidden.size(0) - begin);
      const at::Tensor x = hidden.narrow(0, begin, n);  // [n,D]
      const at::Tensor logits = at::mm(x, head.t());    // [n,V]
      const RowsLoss loss = in.LossOf(logits, begin, train);
      sum += loss.sum();
      if (!train) continue;
      at::Tensor out = dhidden.narrow(0, begin, n);
      at::mm_out(out, loss.gradient(), head);
      if (train_head) dhead.addmm_(loss.gradient().t(), x);
    }
    ctx->save_for_backward({dhidden, dhead});
    return at::scalar_tensor(sum, at::kDouble);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const at::NoGradGuard no_grad;
    const variable_list saved = ctx->get_saved_variables();
    const double scale = grads[0].item<double>();
    const auto scaled = [scale](const at::Tensor& gradient) {
      return gradient.defined() ? gradient * scale : gradient;
    };
    return {scaled(saved[0]), scaled(saved[1]), at::Tensor()};
  }
};

}  // namespace

at::Tensor SumDistillation(const at::Tensor& hidden, const at::Tensor& head,
                           const at::Tensor& labels,
                           const TeacherOutput& teacher,
                           const DistillationWeights& weights, int64_t rows) {
  return DistillationFunction::apply(
      hidden, head,
      DistillationInputs{labels, teacher, {}, weights, RowsOf(rows, head)});
}

at::Tensor SumDistillation(const at::Tensor& hidden, const at::Tensor& head,
                           const at::Tensor& labels, const TopTargets& targets,
                           const DistillationWeights& weights, int64_t rows) {
  return DistillationFunction::apply(
      hidden, head,
      DistillationInputs{labels, {}, targets, weights, RowsOf(rows, head)});
}

TopTargets TopTargetsOf(const TeacherOutput& teacher, double temperature,
                        int64_t k, int64_t rows) {
  const at::NoGradGuard no_grad;
  const int64_t n = teacher.hidden.size(0);
  rows = RowsOf(rows, teacher.head);
  const TopTargets out = {at::empty({n, k}, at::kLong),
                          at::empty({n, k}, at::kFloat),
                          at::empty({n}, at::kFloat)};
  for (int64_t begin = 0; begin < n; begin += rows) {
    const int64_t some = std::min(rows, n - begin);
    at::Tensor logs = at::log_softmax(
        at::mm(teacher.hidden.narrow(0, begin, some), teacher.head.t())
            .div_(temperature),
        1);  // [some,V]
    const at::Tensor likeliest = std::get<1>(logs.topk(k, 1));
    const at::Tensor ids = std::get<0>(likeliest.sort(1));
    out.ids.narrow(0, begin, some).copy_(ids);
    out.values.narrow(0, begin, some).copy_(logs.gather(1, ids));
    out.rest.narrow(0, begin, some)
        .copy_(logs.scatter_(1, ids, kNothing).logsumexp(1));
  }
  return out;
}

at::Tensor SumHiddenMatch(const at::Tensor& hidden, const at::Tensor& teacher,
                          const at::Tensor& projection) {
  const at::Tensor seen =
      projection.defined() ? at::mm(hidden, projection.t()) : hidden;
  return (seen - teacher).square().mean(1).sum(at::kDouble);
}

}  // namespace edgetune
